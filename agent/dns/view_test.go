package dns

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"alps/mesh"
	"alps/mesh/zone"
)

// idle makes a server that does not run.
func idle(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestApplyRefuses(t *testing.T) {
	s := idle(t, options())
	nodes, services := sample()
	z := build(t, 42, nodes, services)
	apply(t, s, z)
	for _, doc := range zone.Split(zone.Between(z, new(zone.Zone))) {
		if err := s.Apply(doc); mesh.CodeOf(err) != mesh.Invalid {
			t.Errorf("an update that leaves nothing: %v", err)
		}
	}
	if s.Zone() == nil || s.Zone().Sum() != z.Sum() {
		t.Error("it was believed all the same")
	}
	if err := s.Apply([]byte("nonsense")); mesh.CodeOf(err) != mesh.Invalid {
		t.Errorf("nonsense: %v", err)
	}

	// The server means another state than ours: it must be asked again.
	u := zone.Between(z, build(t, 43, nodes[1:], services))
	u.Drop = append(u.Drop, zone.NodeKey("bj-e-01", "consul-2"))
	if err := s.Apply(zone.Split(u)[0]); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("a view that differs: %v", err)
	}
	apply(t, s, build(t, 43, nodes[1:], services))
	if _, ok := s.Zone().Node("bj-e-01", "consul-2"); !ok {
		t.Error("Have does not bring back what is missing")
	}
}

// TestAChangeBeforeTheView sends what has changed to an agent that has not got
// the whole yet.
func TestAChangeBeforeTheView(t *testing.T) {
	nodes, services := sample()
	z := build(t, 42, nodes, services)
	change := zone.Split(zone.Between(build(t, 41, nodes[1:], services), z))
	empty := idle(t, options())
	if err := empty.Apply(change[0]); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("to an empty view: %v", err)
	}
	if st := empty.Status(); st.Source != SourceNone || st.Nodes != 0 {
		t.Errorf("one change is taken for all there is: %+v", st)
	}

	o := options()
	o.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.Dir, copyFile), build(t, 40, nodes[2:], services).Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := idle(t, o)
	if err := s.Apply(change[0]); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("to a copy: %v", err)
	}
	if st := s.Status(); st.Source != SourceDisk || !st.Stale || st.Nodes != len(nodes)-1 {
		t.Errorf("after a change of a copy: %+v", st)
	}
	apply(t, s, z)
	if st := s.Status(); st.Source != SourceServer || st.Stale || st.Nodes != len(nodes) {
		t.Errorf("after the whole: %+v", st)
	}
}

// TestViewsAreTakenWhole draws updates, each in several documents, some of
// which are lost with the link, and looks at what is answered after each.
func TestViewsAreTakenWhole(t *testing.T) {
	s := idle(t, options())
	rapid.Check(t, func(rt *rapid.T) {
		for step := range rapid.IntRange(1, 5).Draw(rt, "updates") {
			before := s.Zone()
			z := drawZone(rt, uint64(step))
			have, err := zone.DecodeHave(s.Have())
			if err != nil {
				rt.Fatal(err)
			}
			docs := zone.Split(z.Diff(have))
			keep := len(docs)
			if rapid.Bool().Draw(rt, "the link breaks") {
				keep = rapid.IntRange(0, len(docs)-1).Draw(rt, "after")
			}
			for _, doc := range docs[:keep] {
				if err := s.Apply(doc); err != nil {
					rt.Fatal(err)
				}
			}
			want := z
			if keep < len(docs) {
				want = before
			}
			if s.Zone().Sum() != want.Sum() {
				rt.Fatalf("after %d of %d documents the view is another one", keep, len(docs))
			}
		}
	})
}

func drawZone(t *rapid.T, serial uint64) *zone.Zone {
	n := rapid.IntRange(1, 3000).Draw(t, "nodes")
	salt := rapid.IntRange(0, 3).Draw(t, "salt")
	nodes := make([]zone.Node, n)
	for i := range nodes {
		nodes[i] = zone.Node{DC: "dc", Name: fmt.Sprintf("some-rather-long-name-of-a-node-%d-%d", salt, i), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(salt), byte(i >> 8), byte(i)})}}
	}
	z, err := zone.Build(serial, built, nodes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestStaleAnswersSaySo(t *testing.T) {
	var linked atomic.Bool
	linked.Store(true)
	o := options()
	o.TTL, o.Linked, o.tick = time.Minute, linked.Load, time.Hour
	s := startSample(t, o)
	ttl := func() (uint32, bool) {
		m := question("consul-1.node.yixia.", "A")
		m.SetEdns0(1232, true)
		got := ask(t, s, "udp", m)
		if len(got.Answer) != 1 || !got.IsEdns0().Do() {
			t.Fatalf("got %s", got)
		}
		return got.Answer[0].Header().Ttl, hasEDE(got, edeStale)
	}
	now := time.Now()
	for i, step := range []struct {
		after  time.Duration
		linked bool
		ttl    uint32
		stale  bool
	}{
		{0, true, 60, false},
		{time.Hour, true, 60, false},
		{time.Hour + time.Second, false, 60, false},
		{time.Hour + staleAfter, false, 60, false},
		{time.Hour + staleAfter + time.Second, false, 5, true},
		{2 * time.Hour, false, 5, true},
		{2*time.Hour + time.Second, true, 60, false},
	} {
		linked.Store(step.linked)
		s.refresh(now.Add(step.after))
		if got, stale := ttl(); got != step.ttl || stale != step.stale || s.Status().Stale != step.stale {
			t.Errorf("step %d: TTL %d, stale %v, want %d, %v", i, got, stale, step.ttl, step.stale)
		}
	}
}

// run runs a server until stop is called.
func run(t *testing.T, o Options) (s *Server, stop func()) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestItBeginsWithTheCopyOnTheDisk(t *testing.T) {
	o := options()
	o.Dir = filepath.Join(t.TempDir(), "dns")
	s, stop := run(t, o)
	apply(t, s, estate(t, 5000))
	stop()

	o.Linked = func() bool { return false }
	s, stop = run(t, o)
	m := question("bj-e-hadoop01-3-7.", "A")
	m.SetEdns0(1232, false)
	if got := ask(t, s, "udp", m); len(got.Answer) != 1 || !hasEDE(got, edeStale) {
		t.Errorf("from the copy: %s", got)
	}
	st := s.Status()
	if st.Source != SourceDisk || !st.Stale || st.Nodes != 5000 {
		t.Errorf("status %+v", st)
	}
	stop()

	path := filepath.Join(o.Dir, copyFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s, stop = run(t, o)
	defer stop()
	if st := s.Status(); st.Source != SourceNone || st.Nodes != 0 {
		t.Errorf("a damaged copy is believed: %+v", st)
	}
}

func TestTheCopyIsWrittenWhileItRuns(t *testing.T) {
	o := options()
	o.Dir = t.TempDir()
	s, stop := run(t, o)
	defer stop()
	nodes, services := sample()
	apply(t, s, build(t, 42, nodes, services))
	deadline := time.Now().Add(10 * time.Second)
	for {
		b, err := os.ReadFile(filepath.Join(o.Dir, copyFile))
		if err == nil {
			if z, err := zone.Decode(b); err != nil || z.Serial() != 42 {
				t.Fatalf("the copy: %v", err)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no copy is written")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no address":     func(o *Options) { o.Listen = "" },
		"a host name":    func(o *Options) { o.Listen = "localhost:53" },
		"no domain":      func(o *Options) { o.Domains = nil },
		"a bad domain":   func(o *Options) { o.Domains = []string{"a..b"} },
		"no datacenter":  func(o *Options) { o.DC = "" },
		"reverse":        func(o *Options) { o.Reverse = "both" },
		"forward":        func(o *Options) { o.Forward = []string{"10.0.0.2"} },
		"taken by proxy": func(o *Options) { o.Listen = "192.0.2.1:53" },
	} {
		o := options()
		change(&o)
		if s, err := New(o); err == nil || mesh.CodeOf(err) == mesh.Internal {
			t.Errorf("%s: error %v", name, err)
			if s != nil {
				s.Close()
			}
		}
	}
}

func TestTheTableIsBounded(t *testing.T) {
	s := idle(t, options())
	apply(t, s, estate(t, 5000))
	w := worker{s: s, rnd: 1, counts: new(counters)}
	for n := range 30000 {
		b := packet(t, fmt.Sprintf("x%d.node.yixia.", n), "A", opt(1232, false))
		if n < 20000 {
			b = packet(t, fmt.Sprintf("bj-e-hadoop01-%d-%d.node.yixia.", n>>8&15, n&255), "AAAA", opt(1232, false))
		}
		if reply, _ := w.answer(b, false); reply == nil {
			t.Fatal("no reply")
		}
	}
	kept, size := 0, int64(0)
	for i := range s.table.slots {
		if p := s.table.slots[i].Load(); p != nil {
			kept++
			size += p.size
		}
	}
	if kept < tableSlots/2 || size > tableBytes || size != s.table.bytes.Load() {
		t.Errorf("%d answers of %d bytes are kept, %d are counted", kept, size, s.table.bytes.Load())
	}
	// Large ones push all out before it grows too large.
	for n := range 20000 {
		s.table.put(&packed{key: []byte(fmt.Sprint(n)), size: 10000})
	}
	if got := s.table.bytes.Load(); got > tableBytes {
		t.Errorf("%d bytes are kept, at most %d may be", got, tableBytes)
	}
}

func TestWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := make([]record, rapid.IntRange(1, 40).Draw(t, "n"))
		for i := range records {
			records[i].weight = uint16(rapid.IntRange(0, 3).Draw(t, "weight"))
		}
		rnd := random(rapid.Uint64().Draw(t, "seed"))
		n := rapid.IntRange(1, 50).Draw(t, "of which")
		for _, order := range rnd.orders(records, n) {
			if len(records) == 1 {
				continue
			}
			seen := make(map[int]bool)
			for _, i := range order {
				seen[i] = true
			}
			if want := min(n, len(records)); len(order) != want || len(seen) != want {
				t.Fatalf("order %v of %d", order, len(records))
			}
		}
	})
}

// hitter is a worker with a question that it has answered before.
func hitter(b testing.TB, name, typ string) (*worker, []byte) {
	b.Helper()
	s := idle(b, options())
	nodes, services := sample()
	apply(b, s, build(b, 1, nodes, services))
	w := &worker{s: s, rnd: 1, counts: new(counters)}
	in := packet(b, name, typ, opt(1232, false))
	w.answer(in, false)
	return w, in
}

func TestAHitAllocatesNothing(t *testing.T) {
	for _, name := range []string{"consul-1.node.yixia.", "nobody.node.yixia.", "consul-1."} {
		w, in := hitter(t, name, "A")
		if got := testing.AllocsPerRun(1000, func() { w.answer(in, false) }); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
		if w.counts.hits.Load() < 1000 {
			t.Errorf("%s: %d hits", name, w.counts.hits.Load())
		}
	}
}

func BenchmarkHit(b *testing.B) {
	for _, bench := range []struct{ name, typ string }{{"consul-1.node.yixia.", "A"}, {"consul.service.bj-e-01.yixia.", "A"}, {"nobody.node.yixia.", "A"}} {
		b.Run(strings.SplitN(bench.name, ".", 3)[0]+"/"+bench.typ, func(b *testing.B) {
			w, in := hitter(b, bench.name, bench.typ)
			b.ReportAllocs()
			for b.Loop() {
				w.answer(in, false)
			}
		})
	}
}

func BenchmarkMiss(b *testing.B) {
	s := idle(b, options())
	apply(b, s, estate(b, 5000))
	w := worker{s: s, rnd: 1, counts: new(counters)}
	for _, name := range []string{"bj-e-hadoop01-3-7.node.yixia.", "datanode.service.yixia."} {
		in := packet(b, name, "A", opt(1232, false))
		b.Run(strings.SplitN(name, ".", 3)[1], func(b *testing.B) {
			for b.Loop() {
				s.table.clear()
				w.answer(in, false)
			}
		})
	}
}

// BenchmarkUDP is one question after the other over a socket: the kernel's
// share included.
func BenchmarkUDP(b *testing.B) {
	s := startSample(b, options())
	conn := dial(b, s, "udp")
	in, buf := packet(b, "consul.service.bj-e-01.yixia.", "A", nil), make([]byte, 2048)
	for b.Loop() {
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Write(in); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
