// Package cmdbtest has in-memory stand-ins for everything that a cmdb.CMDB is
// made of. They are for tests; all methods may be called from any goroutine.
//
//	estate := cmdbtest.New("bj-e-01")
//	estate.Consul.Set("bj-e-01", cmdb.Members{…})
//	estate.Roster.Set(cmdb.Enrolment{…})
//	c, err := cmdb.New(estate.Options())
//
// A datacenter is loaded as soon as it is fed, with whatever was Set before.
// What is written to KV comes back through the feed, as it does from Consul.
package cmdbtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"alps/mesh"
	"alps/server/cmdb"
)

// Estate is one of each stand-in.
type Estate struct {
	Datacenter string
	Consul     *Consul
	Links      *Links
	Roster     *Roster
	History    *History
}

// New returns an estate whose server is in dc.
func New(dc string) *Estate {
	return &Estate{
		Datacenter: dc,
		Consul:     &Consul{own: dc, dcs: map[string]*datacenter{dc: newDatacenter()}},
		Links:      &Links{since: make(map[mesh.NodeID]time.Time)},
		Roster:     &Roster{},
		History:    &History{},
	}
}

// Options returns the options of a CMDB of this estate.
func (e *Estate) Options() cmdb.Options {
	return cmdb.Options{
		Datacenter: e.Datacenter, Source: e.Consul, Writer: e.Consul, Links: e.Links, Roster: e.Roster, History: e.History,
	}
}

// Consul is a cmdb.Source and cmdb.Writer.
type Consul struct {
	mu     sync.Mutex
	own    string
	dcs    map[string]*datacenter
	err    error
	writes [][]cmdb.Document
}

type datacenter struct {
	last  map[string]cmdb.Update // by type.
	docs  map[string]cmdb.Document
	feeds map[int]func(cmdb.Update)
	n     int
}

func newDatacenter() *datacenter {
	return &datacenter{
		last: make(map[string]cmdb.Update), docs: make(map[string]cmdb.Document), feeds: make(map[int]func(cmdb.Update)),
	}
}

// Set is what dc hands over from now on, to those who are fed now and to
// those who come.
func (c *Consul) Set(dc string, updates ...cmdb.Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dcs[dc]
	if d == nil {
		d = newDatacenter()
		c.dcs[dc] = d
	}
	for _, u := range updates {
		d.last[fmt.Sprintf("%T", u)] = u
		for _, fn := range d.feeds {
			fn(u)
		}
	}
}

// Fail makes Datacenters and Write return err, until it is nil, and each feed
// say so.
func (c *Consul) Fail(err error) {
	c.mu.Lock()
	c.err = err
	dcs := slices.Collect(maps.Keys(c.dcs))
	c.mu.Unlock()
	for _, dc := range dcs {
		c.Set(dc, cmdb.Contact{Err: err})
	}
}

// Datacenters implements cmdb.Source.
func (c *Consul) Datacenters(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.dcs)), c.err
}

// Feed implements cmdb.Source.
func (c *Consul) Feed(ctx context.Context, dc string, fn func(cmdb.Update)) error {
	c.mu.Lock()
	d := c.dcs[dc]
	if d == nil {
		c.mu.Unlock()
		return fmt.Errorf("no datacenter %q", dc)
	}
	away := false
	for _, u := range d.last {
		if contact, ok := u.(cmdb.Contact); ok && contact.Err != nil {
			away = true
		}
		fn(u)
	}
	fn(d.under(cmdb.RecordPrefix))
	if !away {
		fn(cmdb.Contact{})
		fn(cmdb.Loaded{})
	}
	d.n++
	key := d.n
	d.feeds[key] = fn
	c.mu.Unlock()

	<-ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(d.feeds, key)
	return nil
}

// Write implements cmdb.Writer.
func (c *Consul) Write(_ context.Context, docs []cmdb.Document) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.writes = append(c.writes, slices.Clone(docs))
	d := c.dcs[c.own]
	prefixes := make(map[string]bool)
	for _, doc := range docs {
		d.docs[doc.Key] = doc
		prefixes[doc.Key[:len(cmdb.ShardPrefix(0))]] = true
	}
	for prefix := range prefixes {
		for _, fn := range d.feeds {
			fn(d.under(prefix))
		}
	}
	return nil
}

func (d *datacenter) under(prefix string) cmdb.Documents {
	u := cmdb.Documents{Prefix: prefix}
	for _, k := range slices.Sorted(maps.Keys(d.docs)) {
		if strings.HasPrefix(k, prefix) {
			u.Docs = append(u.Docs, d.docs[k])
		}
	}
	return u
}

// Writes returns the transactions so far.
func (c *Consul) Writes() [][]cmdb.Document {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.writes)
}

// Links is a cmdb.Links.
type Links struct {
	mu    sync.Mutex
	since map[mesh.NodeID]time.Time
}

// Connect makes an agent connected as of now.
func (l *Links) Connect(id mesh.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since[id] = time.Now()
}

// Disconnect ends that.
func (l *Links) Disconnect(id mesh.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.since, id)
}

// Connected implements cmdb.Links.
func (l *Links) Connected(id mesh.NodeID) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, ok := l.since[id]
	return since, ok
}

// Roster is a cmdb.Roster.
type Roster struct {
	mu  sync.Mutex
	l   []cmdb.Enrolment
	err error
}

// Set is who has enrolled.
func (r *Roster) Set(l ...cmdb.Enrolment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.l = l
}

// Fail makes Enrolled return err until it is nil.
func (r *Roster) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Enrolled implements cmdb.Roster.
func (r *Roster) Enrolled(context.Context) ([]cmdb.Enrolment, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.l), r.err
}

// History is a cmdb.History.
type History struct {
	mu  sync.Mutex
	l   []cmdb.Change
	err error
}

// Fail makes RecordChanges return err until it is nil.
func (h *History) Fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// RecordChanges implements cmdb.History.
func (h *History) RecordChanges(_ context.Context, changes []cmdb.Change) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	for _, c := range changes {
		same := func(o cmdb.Change) bool { return o.Node == c.Node && o.Field == c.Field && o.At.Equal(c.At) }
		if !slices.ContainsFunc(h.l, same) {
			h.l = append(h.l, c)
		}
	}
	return nil
}

// Changes returns what was recorded, in order.
func (h *History) Changes() []cmdb.Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.l)
}
