package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"alps/mesh"
)

const (
	askTimeout  = 5 * time.Second
	callTimeout = time.Second // of a try that is made again.
	maxAnswer   = 16 << 20
)

// permanent ends a wait at once.
type permanent struct{ error }

// poll calls cond until it returns nil or something permanent, or ctx ends.
func poll(ctx context.Context, cond func(context.Context) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		err := cond(try)
		cancel()
		if err == nil {
			return nil
		}
		if p, ok := errors.AsType[permanent](err); ok {
			return p.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// JMX returns one bean of a daemon as it is: one name of Hadoop's
// ("NameNodeInfo" of the daemon's own service), or the whole of an object name,
// which may hold a * and then gives the first that matches. None is a
// mesh.NotFound.
func (c *Cluster) JMX(ctx context.Context, n *Node, bean string) (json.RawMessage, error) {
	if !strings.Contains(bean, ":") {
		bean = fmt.Sprintf("Hadoop:service=%s,name=%s", n.Kind, bean)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	where := "http://" + n.HTTP + "/jmx?qry=" + url.QueryEscape(bean)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", n.Name, bean, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", n.Name, bean, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	var answer struct{ Beans []json.RawMessage }
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", n.Name, bean, err)
	}
	if len(answer.Beans) == 0 {
		return nil, mesh.Errorf(mesh.NotFound, "%s has no bean %s", n.Name, bean)
	}
	return answer.Beans[0], nil
}

// bean reads one bean into a struct.
func (c *Cluster) bean(ctx context.Context, n *Node, bean string, into any) error {
	raw, err := c.JMX(ctx, n, bean)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read %s of %s: %w", bean, n.Name, err)
	}
	return nil
}

// LiveNode is what a NameNode knows of a DataNode that lives.
type LiveNode struct {
	XferAddr    string
	InfoAddr    string
	Location    string
	AdminState  string
	LastContact int64
	NumBlocks   int64
	VolFails    int
}

// Live returns what a NameNode says of the DataNodes that live, by Node.Key.
func (c *Cluster) Live(ctx context.Context, nn *Node) (map[string]LiveNode, error) {
	var info struct{ LiveNodes string }
	if err := c.bean(ctx, nn, "NameNodeInfo", &info); err != nil {
		return nil, err
	}
	var live map[string]LiveNode
	if err := json.Unmarshal([]byte(info.LiveNodes), &live); err != nil {
		return nil, fmt.Errorf("read the live nodes of %s: %w", nn.Name, err)
	}
	return live, nil
}

// State is the state of the file system as one NameNode sees it.
type State struct {
	NumLiveDataNodes      int
	NumDeadDataNodes      int
	VolumeFailuresTotal   int
	UnderReplicatedBlocks int64
	BlocksTotal           int64
	FSState               string // "Operational", or "safeMode".
}

// State asks a NameNode.
func (c *Cluster) State(ctx context.Context, nn *Node) (State, error) {
	var s State
	err := c.bean(ctx, nn, "FSNamesystemState", &s)
	return s, err
}

// Active returns the NameNode that is active; none is a mesh.NotFound.
func (c *Cluster) Active(ctx context.Context) (*Node, error) {
	var errs []error
	for _, n := range c.names {
		var s struct{ State string }
		if err := c.bean(ctx, n, "NameNodeStatus", &s); err != nil {
			errs = append(errs, err)
		} else if s.State == "active" {
			return n, nil
		}
	}
	return nil, mesh.Errorf(mesh.NotFound, "no NameNode is active: %w", errors.Join(errs...))
}

// AwaitLive returns when every NameNode that runs sees exactly want DataNodes
// alive and the active one is out of safe mode. It fails when ctx ends, or when
// a NameNode ends while it waits; a NameNode that does not run is not waited
// for.
func (c *Cluster) AwaitLive(ctx context.Context, want int) error {
	for _, n := range c.names {
		if !n.Running() && n.process() != nil && len(c.names) > 1 {
			continue
		}
		err := n.until(ctx, func(ctx context.Context) error {
			s, err := c.State(ctx, n)
			switch {
			case err != nil:
				return err
			case s.NumLiveDataNodes != want:
				return fmt.Errorf("it sees %d DataNodes alive, wanted are %d", s.NumLiveDataNodes, want)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return poll(ctx, func(ctx context.Context) error {
		n, err := c.Active(ctx)
		if err != nil {
			return err
		}
		s, err := c.State(ctx, n)
		if err == nil && s.FSState != "Operational" {
			err = fmt.Errorf("%s is in %s", n.Name, s.FSState)
		}
		return err
	})
}
