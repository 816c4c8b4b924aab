package cmdb

import (
	"context"
	"fmt"
	"time"

	"alps/mesh"
)

// How facts are written. A server that sees 5,000 agents for the first time is
// done within half a minute, with four Raft entries a second; on any other day
// it writes a few entries an hour.
const (
	// maxBatch is how many records one transaction carries: Consul takes 128
	// operations and advises half of that.
	maxBatch = 64
	// maxBatchBytes is how large it may become before the last of them; Consul takes 512 KiB after
	// base64.
	maxBatchBytes = 256 << 10
	// gatherFor is how long the first record waits for others to go with it.
	gatherFor = time.Second
	// writeEvery is the least time between two transactions.
	writeEvery = 250 * time.Millisecond
	// writeTimeout bounds one transaction with its history.
	writeTimeout = 15 * time.Second
)

// write is one record on its way to KV.
type write struct {
	observation mesh.Observation
	record      record
	doc         Document
	changes     []Change
}

// Commit takes what an agent has observed of its node; of several observations
// the last counts. It does not block: facts are compared, written to KV and
// put into the history in the background, and over again while that fails.
// What is lost when this server ends before, the agent repeats to the next
// one, as it does after every connection.
//
// An observation of another node is mesh.Denied, one without a node's name is
// mesh.Invalid; then none is taken. It may be called twice with the same ones.
func (c *CMDB) Commit(_ context.Context, from mesh.NodeID, observations []mesh.Observation) error {
	for _, o := range observations {
		if o.Node != from {
			return mesh.Errorf(mesh.Denied, "agent %s sent facts of node %s", shortID(from), shortID(o.Node))
		}
		if o.Facts.Name == "" {
			return mesh.Errorf(mesh.Invalid, "the facts of agent %s name no node", shortID(from))
		}
	}
	if n := len(observations); n > 0 {
		c.mu.Lock()
		c.pending[from] = observations[n-1]
		c.mu.Unlock()
		signal(c.arrived)
	}
	return nil
}

// write writes what is pending in batches, one at a time. It begins when the
// inventory is loaded: before, nobody can tell what is new.
func (c *CMDB) write(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-c.ready:
	}
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.arrived:
		}
		if !sleep(ctx, gatherFor) {
			return
		}
		for batch := c.batch(); len(batch) > 0; batch = c.batch() {
			err := c.flush(ctx, batch)
			wait := writeEvery
			if err != nil {
				c.putBack(batch)
				wait = retryEvery
				if !failing && ctx.Err() == nil {
					c.log.Warn("facts cannot be stored; trying again", "nodes", len(batch), "error", err)
				}
			}
			failing = err != nil
			if !sleep(ctx, wait) {
				return
			}
		}
	}
}

// batch takes from what is pending as much as one transaction carries. What
// says nothing new is taken and dropped.
func (c *CMDB) batch() []*write {
	c.mu.Lock()
	defer c.mu.Unlock()
	var (
		out  []*write
		size int
	)
	for id, o := range c.pending {
		if len(out) == maxBatch || size > maxBatchBytes {
			break
		}
		delete(c.pending, id)
		w, err := c.compare(o)
		if err != nil {
			c.log.Error("facts cannot be encoded", "node", id, "error", err)
			continue
		}
		if w != nil {
			out, size = append(out, w), size+len(w.doc.Value)
		}
	}
	return out
}

// putBack makes a batch pending again, except for what has been overtaken.
func (c *CMDB) putBack(batch []*write) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range batch {
		if _, ok := c.pending[w.observation.Node]; !ok {
			c.pending[w.observation.Node] = w.observation
		}
	}
}

// compare returns what is to be written, nil when o says nothing new. The
// caller holds the lock.
func (c *CMDB) compare(o mesh.Observation) (*write, error) {
	have := newest(c.sites, map[mesh.NodeID]*record{o.Node: c.written[o.Node].record}, o.Node)
	next, fresh := have.succeed(record{Collector: o.Collector, At: o.At.UTC(), Facts: o.Facts})
	if !fresh {
		return nil, nil
	}
	// The newest record wins wherever there are several: so time must not go
	// back for a node, and a clock that is ahead must not win for ever.
	if now := time.Now().UTC(); next.At.After(now) {
		next.At = now
	}
	if have != nil && !next.At.After(have.At) {
		next.At = have.At.Add(time.Millisecond)
	}
	value, err := next.encode()
	if err != nil {
		return nil, err
	}
	return &write{
		observation: o, record: next, doc: Document{Key: RecordKey(o.Node), Value: value},
		changes: have.changes(o.Node, &next),
	}, nil
}

// flush writes the history before KV: should KV then fail, the same changes
// are recorded again, which History allows; the other way round they would be
// lost.
func (c *CMDB) flush(ctx context.Context, batch []*write) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var (
		changes []Change
		docs    []Document
	)
	for _, w := range batch {
		changes, docs = append(changes, w.changes...), append(docs, w.doc)
	}
	if len(changes) > 0 {
		if err := c.o.History.RecordChanges(ctx, changes); err != nil {
			return fmt.Errorf("record how nodes have changed: %w", err)
		}
	}
	if err := c.o.Writer.Write(ctx, docs); err != nil {
		return fmt.Errorf("write facts to KV: %w", err)
	}
	c.mu.Lock()
	now := time.Now()
	for _, w := range batch {
		c.written[w.observation.Node] = written{&w.record, now}
	}
	c.mu.Unlock()
	signal(c.dirty)
	return nil
}
