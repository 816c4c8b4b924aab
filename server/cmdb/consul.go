package cmdb

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/consul"
)

// What is read how often, on top of what watches bring. health/state/any is
// megabytes in a large datacenter and wakes at every output: it is read, never
// watched.
const (
	allEvery     = 5 * time.Minute  // every check and service, whatever happens.
	allLeast     = 20 * time.Second // … and when nodes or services come and go.
	membersEvery = 15 * time.Second // gossip has nothing to wait on; the local agent answers from memory.
	foreignLeast = 30 * time.Second // all facts of another datacenter at once.
	pollRetry    = 3 * time.Second
	// pollShare is how many times as long as it took a poll rests: a small
	// datacenter is read again within a second, a large one costs no more than
	// a fiftieth of the time.
	pollShare = 50
)

// Consul is the Source and Writer that the product uses.
type Consul struct {
	client *consul.Client
	own    string
}

// FromConsul returns what feeds a CMDB from the agent that client asks, whose
// datacenter is own.
func FromConsul(client *consul.Client, own string) *Consul { return &Consul{client: client, own: own} }

// Datacenters implements Source.
func (c *Consul) Datacenters(ctx context.Context) ([]string, error) { return c.client.Datacenters(ctx) }

// Write implements Writer.
func (c *Consul) Write(ctx context.Context, docs []Document) error {
	ops := make([]consul.Op, len(docs))
	for i, d := range docs {
		ops[i] = consul.Op{Verb: consul.OpSet, Key: d.Key, Value: d.Value}
	}
	_, err := c.client.In(c.own).Txn(ctx, ops)
	return err
}

// Feed implements Source. In the server's own datacenter each shard of facts
// is waited on by itself. Another datacenter has one wait for all of them, at
// longer intervals: a Consul agent takes 200 connections from one address, and
// 64 of them for each datacenter would soon be too many.
func (c *Consul) Feed(ctx context.Context, dc string, fn func(Update)) error {
	f := &feed{
		client: c.client.In(dc), fn: fn, missing: make(map[string]bool), failing: make(map[string]error),
		members: make(chan struct{}, 1), all: make(chan struct{}, 1), services: make(chan struct{}, 1),
	}
	parts := f.common()
	if dc == c.own {
		parts = append(parts, part{"members", func(ctx context.Context) {
			f.poll(ctx, "members", pollOptions{membersEvery, f.members}, f.readMembers)
		}})
		for shard := range mesh.FactShards {
			parts = append(parts, f.facts(ShardPrefix(shard), time.Second))
		}
	} else {
		parts = append(parts, f.facts(RecordPrefix, foreignLeast))
	}
	for _, p := range parts {
		f.missing[p.name] = true
	}
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() { p.follow(ctx) })
	}
	wg.Wait()
	return nil
}

// FollowSettings implements SettingSource, in the server's own datacenter.
func (c *Consul) FollowSettings(ctx context.Context, fn func([]Document)) {
	client := c.client.In(c.own)
	consul.Watch(ctx, consul.WatchOptions{}, func(ctx context.Context, q consul.Query) ([]consul.Pair, consul.Meta, error) {
		return client.List(ctx, SettingPrefix, q)
	}, func(l []consul.Pair, _ consul.Meta) {
		docs := make([]Document, len(l))
		for i, p := range l {
			docs[i] = Document{Key: p.Key, Value: p.Value}
		}
		fn(docs)
	})
}

// feed follows one datacenter. Each part has a goroutine.
type feed struct {
	client *consul.Client
	fn     func(Update)
	// What is polled is read sooner when one of these is signalled.
	members, all, services chan struct{}

	mu      sync.Mutex
	missing map[string]bool  // parts that have not been handed over.
	failing map[string]error // parts that cannot be read.
	told    bool
	away    bool // what was told last.
}

// part is one thing that a feed follows. follow returns when ctx ends.
type part struct {
	name   string
	follow func(ctx context.Context)
}

// common lists the parts that every datacenter has.
func (f *feed) common() []part {
	return []part{
		watch(f, "nodes", pace{least: time.Second}, f.client.Nodes, func(l []consul.Node) {
			f.fn(catalogNodes(l))
			signal(f.members)
			signal(f.all)
		}),
		f.bad("critical checks", consul.Critical, func(l []NodeCheck) {
			f.fn(CriticalChecks(l))
			signal(f.members)
		}),
		f.bad("warning checks", consul.Warning, func(l []NodeCheck) { f.fn(WarningChecks(l)) }),
		watch(f, "list of services", pace{least: time.Second}, f.client.Services, func(map[string][]string) {
			signal(f.services)
			signal(f.all)
		}),
		{"services", func(ctx context.Context) {
			f.poll(ctx, "services", pollOptions{allEvery, f.services}, f.readServices)
		}},
		{"checks", func(ctx context.Context) {
			f.poll(ctx, "checks", pollOptions{allEvery, f.all}, f.readChecks)
		}},
	}
}

// leftAtOnce is of how many nodes the checks are read again one by one when
// checks leave a list of bad ones; when more do, everything is.
const leftAtOnce = 16

// bad follows the checks in one bad state. Those of a node are read again when
// one of them leaves: it may have recovered, or be no more.
func (f *feed) bad(name, state string, deliver func([]NodeCheck)) part {
	type place struct {
		node mesh.NodeName
		id   string
	}
	before := make(map[place]bool) // of the part's goroutine alone.
	return part{name, func(ctx context.Context) {
		watch(f, name, pace{time.Second, badBurst}, f.state(state), func(l []consul.Check) {
			now := make(map[place]bool, len(l))
			for _, c := range l {
				now[place{c.Node, c.ID}] = true
			}
			left := make(map[mesh.NodeName]bool)
			for p := range before {
				if !now[p] {
					left[p.node] = true
				}
			}
			before = now
			if len(left) > leftAtOnce {
				signal(f.all)
				left = nil
			}
			for node := range left {
				list, _, err := f.client.HealthNode(ctx, node, consul.Query{Mode: consul.Default})
				if err != nil {
					signal(f.all)
					continue
				}
				checks := make([]mesh.Check, len(list))
				for i, c := range nodeChecks(list) {
					checks[i] = c.Check
				}
				f.fn(NodeChecks{node, checks})
			}
			deliver(nodeChecks(l))
		}).follow(ctx)
	}}
}

func (f *feed) facts(prefix string, least time.Duration) part {
	read := func(ctx context.Context, q consul.Query) ([]consul.Pair, consul.Meta, error) {
		return f.client.List(ctx, prefix, q)
	}
	return watch(f, "facts under "+prefix, pace{least: least}, read, func(l []consul.Pair) {
		u := Documents{Prefix: prefix, Docs: make([]Document, len(l))}
		for i, p := range l {
			u.Docs[i] = Document{Key: p.Key, Value: p.Value}
		}
		f.fn(u)
	})
}

func (f *feed) state(state string) func(context.Context, consul.Query) ([]consul.Check, consul.Meta, error) {
	return func(ctx context.Context, q consul.Query) ([]consul.Check, consul.Meta, error) {
		return f.client.HealthState(ctx, state, q)
	}
}

// pace is how often something is read while it changes: least lies between two
// reads, but for the first few after a quiet time.
type pace struct {
	least time.Duration
	burst int // zero is three.
}

// badBurst is how many changes of the short lists of bad checks are followed at
// once: a person who has just mended something looks whether it is well.
const badBurst = 5

// watch makes a part of something that can be waited on.
func watch[T any](
	f *feed, name string, pace pace,
	read func(context.Context, consul.Query) (T, consul.Meta, error), deliver func(T),
) part {
	return part{name, func(ctx context.Context) {
		o := consul.WatchOptions{MinInterval: pace.least, Burst: pace.burst, Report: func(err error) { f.report(name, err) }}
		consul.Watch(ctx, o, read, func(v T, m consul.Meta) {
			deliver(v)
			if m.Reset { // Consul went back in time; what is polled did too.
				signal(f.members)
				signal(f.all)
				signal(f.services)
			}
			f.arrived(name, m.Filtered)
		})
	}}
}

// pollOptions say how often something is read: every, or when kick is
// signalled.
type pollOptions struct {
	every time.Duration
	kick  <-chan struct{}
}

// poll follows something that cannot, or should not, be waited on.
func (f *feed) poll(ctx context.Context, name string, o pollOptions, read func(context.Context) (filtered bool, err error)) {
	for {
		began := time.Now()
		filtered, err := read(ctx)
		least := min(max(pollShare*time.Since(began), time.Second), allLeast)
		every := o.every
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.report(name, err)
			every = pollRetry
		default:
			f.arrived(name, filtered)
		}
		if !sleep(ctx, least) {
			return
		}
		timer := time.NewTimer(max(every-least, 0))
		select {
		case <-ctx.Done():
		case <-o.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (f *feed) readMembers(ctx context.Context) (bool, error) {
	l, err := f.client.Members(ctx, false)
	if err != nil {
		return false, err
	}
	out := make(Members, len(l))
	for i, m := range l {
		out[i] = mesh.Member{
			Name: m.Name, Status: mesh.MemberStatus(m.Status), Type: m.Type, Build: m.Build, Protocol: m.Protocol,
			DC: m.Datacenter, Segment: m.Segment,
		}
		host, port, err := net.SplitHostPort(m.Addr)
		if err != nil {
			return false, fmt.Errorf("read the address of member %q: %w", m.Name, err)
		}
		out[i].Address = host
		out[i].Port, _ = strconv.Atoi(port)
	}
	f.fn(out)
	return false, nil
}

func (f *feed) readServices(ctx context.Context) (bool, error) {
	l, err := f.client.AllInstances(ctx, nil)
	if err != nil {
		return false, err
	}
	out := make(Services)
	for _, s := range l {
		out[s.Node] = append(out[s.Node], mesh.Service{
			ID: s.ID, Name: s.Name, Address: s.Address, Port: s.Port, Tags: s.Tags, Meta: s.Meta,
		})
	}
	f.fn(out)
	return false, nil
}

func (f *feed) readChecks(ctx context.Context) (bool, error) {
	l, m, err := f.client.HealthState(ctx, consul.Any, consul.Query{})
	if err != nil {
		return false, err
	}
	f.fn(AllChecks(nodeChecks(l)))
	return m.Filtered, nil
}

// arrived takes in that a part was handed over.
func (f *feed) arrived(name string, filtered bool) {
	f.mu.Lock()
	missing := len(f.missing)
	delete(f.missing, name)
	loaded := missing > 0 && len(f.missing) == 0
	f.mu.Unlock()
	var err error
	if filtered {
		err = mesh.Errorf(mesh.Denied, "the server's Consul token hides a part of: %s", name)
	}
	f.report(name, err)
	if loaded {
		f.fn(Loaded{})
	}
}

// report takes in that a part can be read, or why not, and tells when that
// changes the answer for the datacenter.
func (f *feed) report(name string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.failing, name)
	} else {
		f.failing[name] = err
	}
	away := len(f.failing) > 0
	if f.told && away == f.away {
		return
	}
	f.told, f.away = true, away
	if !away {
		f.fn(Contact{})
		return
	}
	first := slices.Min(slices.Collect(maps.Keys(f.failing)))
	f.fn(Contact{f.failing[first]})
}

func catalogNodes(l []consul.Node) CatalogNodes {
	out := make(CatalogNodes, len(l))
	for i, n := range l {
		out[i] = CatalogNode{Name: n.Name, Address: n.Address, Meta: n.Meta}
	}
	return out
}

func nodeChecks(l []consul.Check) []NodeCheck {
	out := make([]NodeCheck, len(l))
	for i, c := range l {
		out[i] = NodeCheck{Node: c.Node, Check: mesh.Check{
			ID: c.ID, Name: c.Name, Status: mesh.Health(c.Status), Service: c.ServiceName, ServiceID: c.ServiceID, Notes: c.Notes, Output: c.Output,
		}}
	}
	return out
}
