package jmx

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"alps/checks/hdfs/site"
)

// View is what one NameNode says, or why it says nothing.
type View struct {
	NameNode site.NameNode
	Status   NameNodeStatus
	Info     *NameNodeInfo
	System   SystemState
	Err      error
}

// Survey is what all NameNodes say, in the order in which they were given.
type Survey []View

// Survey asks all NameNodes at once. Each has the timeout of one call for all of
// its answers, so that one which hangs costs no more than that.
func (c *Client) Survey(ctx context.Context, nns []site.NameNode) Survey {
	out := make(Survey, len(nns))
	var wg sync.WaitGroup
	for i, n := range nns {
		wg.Go(func() { out[i] = c.view(ctx, n) })
	}
	wg.Wait()
	return out
}

// view asks for the state before and after the numbers: those of a NameNode
// that has changed in between belong to neither state.
func (c *Client) view(ctx context.Context, n site.NameNode) View {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	v := View{NameNode: n}
	if v.Status, v.Err = c.NameNodeStatus(ctx, n.HTTP); v.Err != nil {
		return v
	}
	if v.Info, v.Err = c.NameNodeInfo(ctx, n.HTTP); v.Err != nil {
		return v
	}
	if v.System, v.Err = c.SystemState(ctx, n.HTTP); v.Err != nil {
		return v
	}
	var again NameNodeStatus
	if again, v.Err = c.NameNodeStatus(ctx, n.HTTP); v.Err == nil && again != v.Status {
		v.Err = &Error{Garbled, n.HTTP, fmt.Sprintf("it went from %s to %s while it was asked", v.Status.State, again.State)}
	}
	return v
}

// Active returns the view of the active NameNode, whose numbers are the only
// ones that count. There must be exactly one among those that answer; whether
// the others answer is said by Silent.
func (s Survey) Active() (*View, error) {
	at := -1
	for i, v := range s {
		switch {
		case v.Err != nil || v.Status.State != StateActive:
		case at >= 0:
			return nil, fmt.Errorf("find the active NameNode: there is more than one: %s", s)
		default:
			at = i
		}
	}
	if at < 0 {
		return nil, fmt.Errorf("find the active NameNode: there is none: %s", s)
	}
	return &s[at], nil
}

// Silent returns the views of those that do not say what they know.
func (s Survey) Silent() []View {
	return slices.DeleteFunc(slices.Clone(s), func(v View) bool { return v.Err == nil })
}

// String says for each NameNode in which state it is, or why that is not known.
func (s Survey) String() string {
	parts := make([]string, len(s))
	for i, v := range s {
		if parts[i] = v.NameNode.Name() + " is " + v.Status.State; v.Err != nil {
			parts[i] = v.NameNode.Name() + ": " + v.Err.Error()
		}
	}
	return strings.Join(parts, "; ")
}
