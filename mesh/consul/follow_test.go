package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"alps/mesh"
	"alps/mesh/consul/cluster"
)

// followed is a Consul with one key, real or played, to which things happen.
type followed interface {
	client() *Client
	put(t *testing.T, value string)
	// outage runs f while nothing answers.
	outage(t *testing.T, f func())
	// mark remembers the state, and rewind puts it back, indexes included.
	mark(t *testing.T)
	rewind(t *testing.T)
}

const followKey = "follow/key"

// follow is what Watch promises, held against a followed.
func follow(t *testing.T, f followed) {
	t.Helper()
	type answer struct {
		value string
		reset bool
	}
	got := make(chan answer, 100)
	reports := make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	// A restore that falls between two reads is only seen when a wait ends.
	o := WatchOptions{Wait: time.Second, MinInterval: 10 * time.Millisecond, Report: func(err error) { reports <- err }}
	go func() {
		defer close(done)
		Watch(ctx, o, func(ctx context.Context, q Query) (*Pair, Meta, error) {
			return f.client().Get(ctx, followKey, q)
		}, func(p *Pair, m Meta) {
			a := answer{"(missing)", m.Reset}
			if p != nil {
				a.value = string(p.Value)
			}
			got <- a
		})
	}()
	want := func(w answer) {
		t.Helper()
		if g := within(t, fmt.Sprintf("answer %v", w), got); g != w {
			t.Fatalf("answer = %v, want %v", g, w)
		}
	}
	want(answer{"(missing)", false})
	f.put(t, "a")
	want(answer{"a", false})
	f.mark(t)
	f.put(t, "b")
	want(answer{"b", false})

	f.rewind(t)
	// A restore has moments of its own, in which reads may fail or show the
	// old state; what matters is that the end of it is the new one, and told.
	reset := false
	eventually(t, "the restored value, with the word of it", func() error {
		select {
		case a := <-got:
			reset = reset || a.reset
			if a.value == "a" && reset {
				return nil
			}
			return fmt.Errorf("answer %v", a)
		default:
			return fmt.Errorf("no answer")
		}
	})
	f.put(t, "c")
	want(answer{"c", false})
	drain(t, reports)

	f.outage(t, func() {
		if err := within(t, "the outage is reported", reports); mesh.CodeOf(err) != mesh.Unavailable {
			t.Errorf("report = %v, want unavailable", err)
		}
	})
	if err := within(t, "the end of the outage is reported", reports); err != nil {
		t.Errorf("report = %v, want that all is well", err)
	}
	f.put(t, "d")
	// A Consul that has just started shows what it had when it last took a
	// snapshot, until it has read its log again.
	eventually(t, "the value after the outage", func() error {
		select {
		case a := <-got:
			if a.value == "d" {
				return nil
			}
			return fmt.Errorf("answer %v", a)
		default:
			return fmt.Errorf("no answer")
		}
	})
	cancel()
	within(t, "the watch ends", done)
	if n := len(reports); n != 0 {
		t.Errorf("%d reports more: %v", n, <-reports)
	}
	if n := len(got); n != 0 {
		t.Errorf("%d answers more: %v", n, <-got)
	}
}

// drain takes the reports of the restore, which may have been felt or not.
func drain(t *testing.T, reports <-chan error) {
	t.Helper()
	for len(reports) > 0 {
		if err := <-reports; err != nil {
			t.Log("during the restore:", err)
		}
	}
}

func TestFollowRealConsul(t *testing.T) {
	r := &realConsul{cl: cluster.ForTest(t, cluster.Options{})}
	r.n = r.cl.Nodes()[0]
	r.c = newClient(t, r.n.HTTPAddr())
	follow(t, r)
}

type realConsul struct {
	cl       *cluster.Cluster
	n        *cluster.Node
	c        *Client
	snapshot []byte
}

func (r *realConsul) client() *Client { return r.c }

func (r *realConsul) put(t *testing.T, value string) {
	t.Helper()
	eventually(t, "the write of "+value, func() error { return r.c.Put(t.Context(), followKey, []byte(value)) })
}

func (r *realConsul) outage(t *testing.T, f func()) {
	t.Helper()
	r.n.Kill()
	f()
	if err := r.n.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.cl.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (r *realConsul) mark(t *testing.T) {
	t.Helper()
	var err error
	if r.snapshot, err = r.n.SaveSnapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (r *realConsul) rewind(t *testing.T) {
	t.Helper()
	if err := r.n.RestoreSnapshot(t.Context(), r.snapshot); err != nil {
		t.Fatal(err)
	}
}

func TestFollowPlayedConsul(t *testing.T) {
	p := &playedConsul{index: 7, changed: make(chan struct{})}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.c = newClient(t, s.URL)
	follow(t, p)
}

// playedConsul answers for one key as Consul would, and does at will what a
// real one does only in bad moments.
type playedConsul struct {
	c *Client

	mu      sync.Mutex
	value   *string
	index   uint64
	marked  string
	markIdx uint64
	status  int // to answer with instead; zero means well.
	changed chan struct{}
}

func (p *playedConsul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64) // absent means 0.
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	p.mu.Lock()
	if index > 0 && p.status == 0 && p.index <= index {
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	if p.status != 0 {
		http.Error(w, "No cluster leader", p.status)
		return
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(p.index, 10))
	if p.value == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode([]any{map[string]any{
		"Key": followKey, "Value": []byte(*p.value), "ModifyIndex": p.index,
	}}) // a lost client reads nothing.
}

func (p *playedConsul) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *playedConsul) client() *Client { return p.c }

func (p *playedConsul) put(_ *testing.T, value string) {
	p.change(func() { p.value, p.index = &value, p.index+1 })
}

func (p *playedConsul) outage(_ *testing.T, f func()) {
	p.change(func() { p.status = http.StatusInternalServerError })
	f()
	p.change(func() { p.status = 0 })
}

func (p *playedConsul) mark(*testing.T) { p.marked, p.markIdx = *p.value, p.index }

func (p *playedConsul) rewind(*testing.T) {
	p.change(func() { p.value, p.index = &p.marked, p.markIdx })
}

// TestReadsOutliveTheLeader kills the leader of three under a watch. Reads go
// on, since any server may answer; writes fail until there is a new leader.
func TestReadsOutliveTheLeader(t *testing.T) {
	cl := cluster.ForTest(t, cluster.Options{Datacenters: []cluster.Datacenter{{Name: "bj-e-01", Nodes: []cluster.NodeSpec{
		{Name: "bj-e-admin01", Server: true}, {Name: "bj-e-admin02", Server: true}, {Name: "bj-e-admin03", Server: true},
	}}}})
	leader, err := cl.Leader(t.Context(), "bj-e-01")
	if err != nil {
		t.Fatal(err)
	}
	var other *cluster.Node
	for _, n := range cl.Nodes() {
		if n != leader {
			other = n
		}
	}
	c := newClient(t, other.HTTPAddr())
	if err := c.Put(t.Context(), followKey, []byte("before")); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, WatchOptions{}, func(ctx context.Context, q Query) (*Pair, Meta, error) {
			return c.Get(ctx, followKey, q)
		}, func(p *Pair, _ Meta) {
			if p != nil { // the first answer may come from before the write.
				got <- string(p.Value)
			}
		})
	}()
	if v := within(t, "the first value", got); v != "before" {
		t.Errorf("value = %q, want before", v)
	}
	leader.Kill()
	if p, _, err := c.Get(t.Context(), followKey, Query{}); err != nil || p == nil || string(p.Value) != "before" {
		t.Errorf("stale Get without a leader = %v, %v, want the value", p, err)
	}
	eventually(t, "a write after the election", func() error { return c.Put(t.Context(), followKey, []byte("after")) })
	if v := within(t, "the value after the election", got); v != "after" {
		t.Errorf("value = %q, want after", v)
	}
	cancel()
	within(t, "the watch ends", done)
}
