package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// WaitReady blocks until every node that runs and is not frozen is a whole
// part of the cluster: there is a leader in each datacenter, every server
// sees all of those nodes alive and the catalog has them passing, every
// client answers from the catalog, and every server reads from the other
// datacenters. It fails when ctx ends, saying what is still missing, or when
// one of the processes ends.
//
// Nodes that do not run are not waited for, whatever others think of them.
func (c *Cluster) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	nodes := c.up()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			errs[i] = n.until(ctx, func(ctx context.Context) error { return n.ready(ctx, nodes) })
			if errs[i] != nil {
				cancel(errs[i]) // the first reason is the one to show.
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("wait for the cluster: %w", err)
	}
	return nil
}

// until polls cond until it holds, the process ends, or ctx does.
func (n *Node) until(ctx context.Context, cond func(context.Context) error) error {
	p := n.process()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return p.Err()
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", n.Name, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// ready says what n still lacks, given the nodes that are up.
func (n *Node) ready(ctx context.Context, up []*Node) error {
	var leader string
	if err := n.get(ctx, "/v1/status/leader", &leader); err != nil {
		return err
	}
	if leader == "" {
		return errors.New("no leader")
	}
	lan := map[string]bool{} // names of the datacenter that are missing.
	wan := map[string]bool{}
	others := map[string]bool{}
	for _, m := range up {
		if m.Datacenter == n.Datacenter {
			lan[m.Name] = true
		} else if m.Server {
			others[m.Datacenter] = true
		}
		if m.Server {
			wan[m.Name+"."+m.Datacenter] = true
		}
	}
	if err := n.passing(ctx, lan); err != nil {
		return err
	}
	if !n.Server {
		return nil
	}
	if err := n.alive(ctx, "/v1/agent/members", lan); err != nil {
		return err
	}
	if err := n.alive(ctx, "/v1/agent/members?wan=1", wan); err != nil {
		return err
	}
	for dc := range others {
		var nodes []struct{}
		if err := n.get(ctx, "/v1/catalog/nodes?dc="+dc, &nodes); err != nil {
			return err
		}
	}
	return nil
}

// alive fails if the serf pool at path does not have every name alive.
func (n *Node) alive(ctx context.Context, path string, names map[string]bool) error {
	var members []struct {
		Name   string
		Status int
	}
	if err := n.get(ctx, path, &members); err != nil {
		return err
	}
	const serfAlive = 1
	seen := map[string]bool{}
	for _, m := range members {
		seen[m.Name] = m.Status == serfAlive
	}
	for name := range names {
		if !seen[name] {
			return fmt.Errorf("%s is not alive in %s", name, path)
		}
	}
	return nil
}

// passing fails if serfHealth of any of the names is not passing.
func (n *Node) passing(ctx context.Context, names map[string]bool) error {
	var checks []struct{ Node, CheckID string }
	if err := n.get(ctx, "/v1/health/state/passing", &checks); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, c := range checks {
		if c.CheckID == "serfHealth" {
			seen[c.Node] = true
		}
	}
	for name := range names {
		if !seen[name] {
			return fmt.Errorf("%s is not passing in the catalog", name)
		}
	}
	return nil
}

// get reads one JSON answer of the node's HTTP API.
func (n *Node) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTPAddr()+path, nil)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", n.Name, path, err)
	}
	resp, err := n.c.do(req)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", n.Name, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // the status says enough.
		return fmt.Errorf("ask %s for %s: %s: %s", n.Name, path, resp.Status, b)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask %s for %s: %w", n.Name, path, err)
	}
	return nil
}

// do sends a request as who the Options say.
func (c *Cluster) do(req *http.Request) (*http.Response, error) {
	if c.o.Token != "" {
		req.Header.Set("X-Consul-Token", c.o.Token)
	}
	return c.http.Do(req)
}
