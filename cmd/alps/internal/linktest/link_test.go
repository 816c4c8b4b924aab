package linktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	agentlink "alps/agent/link"
	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
	serverlink "alps/server/link"
)

func TestDeliver(t *testing.T) {
	w := newWorld(t)
	w.start()
	l := w.agent(w.enrol(), t.TempDir(), nil)
	send(t, l, frame.Exec, "before")
	run(t, l.Run)
	eventually(t, "the first message has come", func() bool { return len(w.log.all()) == 1 })
	send(t, l, frame.Exec, "after")
	eventually(t, "the second message has come", func() bool { return len(w.log.all()) == 2 })
	eventually(t, "the spool is empty", func() bool { return l.Status().Spool.Waiting == 0 })
	if st := l.Status(); !st.Connected || st.Server != "s1" || st.Addr != w.addr || st.Skew.Abs() > time.Minute {
		t.Errorf("status = %+v, want a link to s1 at %s", st, w.addr)
	}
	if since, ok := w.server.Connected(l.Status().NodeID); !ok || since.IsZero() {
		t.Errorf("the server says: connected %v, since %v", ok, since)
	}
}

// TestBatches sends what is many messages and should be few commits.
func TestBatches(t *testing.T) {
	w := newWorld(t)
	w.start()
	l := w.agent(w.enrol(), t.TempDir(), nil)
	for i := range 100 {
		send(t, l, frame.Exec, fmt.Sprint(i))
	}
	run(t, l.Run)
	eventually(t, "all have come", func() bool { return len(w.log.all()) == 100 })
	if n := w.server.Stats().Commits; n > 20 {
		t.Errorf("100 messages that waited cost %d commits, want a few", n)
	}
}

func TestServerRestart(t *testing.T) {
	w := newWorld(t)
	w.start()
	l := w.agent(w.enrol(), t.TempDir(), nil)
	run(t, l.Run)
	send(t, l, frame.Exec, "1")
	eventually(t, "the first has come", func() bool { return len(w.log.all()) == 1 })
	w.stop()
	eventually(t, "the agent has noticed", func() bool { return !l.Status().Connected })
	send(t, l, frame.Exec, "2")
	w.start()
	eventually(t, "the second has come", func() bool { return w.has("2") })
	if e := l.Status().LastError; e == nil || e.Code != mesh.Unavailable {
		t.Errorf("last error = %v, want code %s", e, mesh.Unavailable)
	}
}

func (w *world) has(payload string) bool {
	return slices.ContainsFunc(w.log.all(), func(s string) bool { return strings.HasSuffix(s, " "+payload) })
}

func TestRevokedOnALiveLink(t *testing.T) {
	w := newWorld(t)
	w.start()
	id := w.enrol()
	l := w.agent(id, t.TempDir(), nil)
	run(t, l.Run)
	eventually(t, "the link is up", func() bool { _, ok := w.server.Connected(id.NodeID()); return ok })
	w.revoke(id.NodeID())
	eventually(t, "the agent knows", func() bool {
		st := l.Status()
		return !st.Connected && st.LastError != nil && st.LastError.Code == mesh.Denied && strings.Contains(st.LastError.Message, "revoked")
	})
	// It tries again, with its session ticket, and is turned away each time.
	failed := w.server.Stats().Failed
	eventually(t, "it was turned away again", func() bool { return w.server.Stats().Failed > failed })
	send(t, l, frame.Exec, "too late")
	eventually(t, "and again", func() bool { return w.server.Stats().Failed > failed+2 })
	if got := w.log.all(); len(got) != 0 {
		t.Errorf("a revoked node delivered %v", got)
	}
}

// TestStrangers lets agents dial a server that is not theirs.
func TestStrangers(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.start()
	other.start()
	l := other.agent(other.enrol(), t.TempDir(), func(o *agentlink.Options) { o.Servers = agentlink.Fixed(w.addr) })
	run(t, l.Run)
	send(t, l, frame.Exec, "foreign")
	eventually(t, "the agent knows why", func() bool {
		e := l.Status().LastError
		return e != nil && e.Code == mesh.Unauthorized && strings.Contains(e.Message, "CA") && e.Hint != ""
	})
	if got := w.log.all(); len(got) != 0 {
		t.Errorf("a stranger delivered %v", got)
	}
	_, err := agentlink.Enrol(t.Context(), agentlink.EnrolOptions{
		DataDir: t.TempDir(), Token: other.ca.NewJoinToken().String(), Servers: []string{w.addr},
	})
	if mesh.CodeOf(err) != mesh.Unauthorized {
		t.Errorf("enrolled with a server of another CA: %v", err)
	}
}

func TestRefusedMessages(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var refused []string
	w.opts = func(o *serverlink.Options) {
		delete(o.Consumers, frame.Fact)
		o.OnRefused = func(_ frame.Peer, m frame.Message, err error) {
			mu.Lock()
			defer mu.Unlock()
			refused = append(refused, fmt.Sprintf("%s %s %s", m.Kind, m.Payload, mesh.CodeOf(err)))
		}
	}
	w.log.before = func(_ context.Context, _ frame.Peer, ms []frame.Message) error {
		for _, m := range ms {
			if string(m.Payload) == "bad" {
				return mesh.Errorf(mesh.Denied, "bad")
			}
		}
		return nil
	}
	w.start()
	l := w.agent(w.enrol(), t.TempDir(), nil)
	for _, p := range []string{"1", "2", "bad", "3"} {
		send(t, l, frame.Exec, p)
	}
	send(t, l, frame.Fact, "fact")
	send(t, l, frame.Exec, "4")
	run(t, l.Run)
	eventually(t, "the spool is empty", func() bool { return l.Status().Spool.Waiting == 0 })
	var got []string
	for _, s := range w.log.all() {
		got = append(got, s[strings.LastIndex(s, " ")+1:])
	}
	if want := []string{"1", "2", "3", "4"}; !slices.Equal(got, want) {
		t.Errorf("committed %v, want %v", got, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"exec bad denied", "fact fact invalid"}; !slices.Equal(refused, want) {
		t.Errorf("refused %v, want %v", refused, want)
	}
	if st := l.Status(); st.Refused != 2 || st.LastRefusal == nil {
		t.Errorf("the agent knows of %d refusals, want 2", st.Refused)
	}
}

func TestTooLarge(t *testing.T) {
	w := newWorld(t)
	w.start()
	l := w.agent(w.enrol(), t.TempDir(), nil)
	run(t, l.Run)
	if err := l.Send(frame.Exec, make([]byte, frame.MaxPayload+1), true); mesh.CodeOf(err) != mesh.TooLarge {
		t.Errorf("64 KiB and 1 byte: %v, want code %s", err, mesh.TooLarge)
	}
	send(t, l, frame.Exec, strings.Repeat("x", frame.MaxPayload))
	eventually(t, "the largest message has come", func() bool { return len(w.log.all()) == 1 })
}

func TestConsumerFailsForAWhile(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	left := 3
	w.log.before = func(context.Context, frame.Peer, []frame.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if left--; left >= 0 {
			return errors.New("the disk is full")
		}
		return nil
	}
	w.start()
	l := w.agent(w.enrol(), t.TempDir(), nil)
	send(t, l, frame.Exec, "1")
	run(t, l.Run)
	eventually(t, "it came in the end", func() bool { return w.has("1") })
	if e := l.Status().LastError; e == nil || !strings.Contains(e.Message, "the disk is full") {
		t.Errorf("last error = %v, want what the server said", e)
	}
}

func TestSlowConsumer(t *testing.T) {
	w := newWorld(t)
	gate := make(chan struct{})
	w.log.before = func(ctx context.Context, _ frame.Peer, _ []frame.Message) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.start()
	l := w.agent(w.enrol(), t.TempDir(), nil)
	run(t, l.Run)
	body := strings.Repeat("x", 4<<10)
	for i := range 600 { // more than the window and the sockets hold.
		if err := l.Send(frame.Exec, fmt.Appendf(nil, "%d%s", i, body), false); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the link is up", func() bool { return l.Status().Connected })
	close(gate)
	eventually(t, "all have come", func() bool { return len(w.log.all()) == 600 })
	checkOrder(t, w.log.all(), true)
	if n := w.server.Stats().Accepted; n > 2 { // the link, and enrolment.
		t.Errorf("%d connections: the link did not hold", n)
	}
}

// checkOrder checks that the messages of each boot came in the order of their
// numbers; where exactly is false, repetitions are allowed.
func checkOrder(t testing.TB, got []string, exactly bool) {
	t.Helper()
	last := make(map[string]uint64)
	seen := make(map[string]bool)
	for _, s := range got {
		var boot string
		var seq uint64
		if _, err := fmt.Sscanf(s, "%s %d", &boot, &seq); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(boot, " ", seq)
		if seen[key] && exactly {
			t.Errorf("message %s was committed twice", key)
		}
		if !seen[key] && seq <= last[boot] {
			t.Errorf("message %s came after message %d", key, last[boot])
		}
		seen[key], last[boot] = true, max(seq, last[boot])
	}
}

func TestSendDown(t *testing.T) {
	w := newWorld(t)
	w.start()
	id := w.enrol()
	var mu sync.Mutex
	var got []string
	l := w.agent(id, t.TempDir(), func(o *agentlink.Options) {
		o.Handlers = map[frame.Kind]agentlink.Handler{frame.Want: func(_ context.Context, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, string(p))
			if string(p) == "no" {
				return mesh.Errorf(mesh.NotFound, "no such body").WithHint("look elsewhere")
			}
			return nil
		}}
	})
	if err := w.server.Send(t.Context(), id.NodeID(), frame.Want, nil); mesh.CodeOf(err) != mesh.Unavailable {
		t.Errorf("without a link: %v, want code %s", err, mesh.Unavailable)
	}
	run(t, l.Run)
	eventually(t, "the link is up", func() bool { _, ok := w.server.Connected(id.NodeID()); return ok })
	for name, tc := range map[string]struct {
		kind frame.Kind
		text string
		want mesh.Code
	}{
		"handled":    {frame.Want, "yes", ""},
		"refused":    {frame.Want, "no", mesh.NotFound},
		"no handler": {frame.Config, "x", mesh.Invalid},
		"not down":   {frame.Exec, "x", mesh.Invalid},
		"too large":  {frame.Want, strings.Repeat("x", frame.MaxPayload+1), mesh.TooLarge},
	} {
		if err := w.server.Send(t.Context(), id.NodeID(), tc.kind, []byte(tc.text)); mesh.CodeOf(err) != tc.want {
			t.Errorf("%s: %v, want code %q", name, err, tc.want)
		}
	}
	if err := w.server.Post(id.NodeID(), frame.Want, []byte("posted")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the posted message was handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(got, "posted")
	})
}

func TestSendDownToALinkThatBreaks(t *testing.T) {
	w := newWorld(t)
	w.start()
	id := w.enrol()
	entered := make(chan struct{})
	l := w.agent(id, t.TempDir(), func(o *agentlink.Options) {
		o.Handlers = map[frame.Kind]agentlink.Handler{frame.Want: func(ctx context.Context, _ []byte) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}}
	})
	stop := run(t, l.Run)
	eventually(t, "the link is up", func() bool { _, ok := w.server.Connected(id.NodeID()); return ok })
	answer := make(chan error, 1)
	go func() { answer <- w.server.Send(context.Background(), id.NodeID(), frame.Want, nil) }()
	<-entered
	stop()
	if err := <-answer; mesh.CodeOf(err) != mesh.Unavailable {
		t.Errorf("the link broke: %v, want code %s", err, mesh.Unavailable)
	}
}

// TestTwoOfOneIdentity runs a node and its clone.
func TestTwoOfOneIdentity(t *testing.T) {
	w := newWorld(t)
	clone := make(chan serverlink.Replacement, 100)
	w.opts = func(o *serverlink.Options) {
		o.OnReplaced = func(r serverlink.Replacement) {
			if r.Clone {
				select {
				case clone <- r:
				default:
				}
			}
		}
	}
	w.start()
	id := w.enrol()
	for range 2 {
		run(t, w.agent(id, t.TempDir(), nil).Run)
	}
	select {
	case r := <-clone:
		if r.Node != id.NodeID() || r.Count < 2 || r.Old.Boot == r.New.Boot {
			t.Errorf("reported %+v", r)
		}
	case <-time.After(patience):
		t.Error("two agents of one identity went unnoticed")
	}
}

// TestComingBackIsNoClone breaks a node's links: the same process returns.
func TestComingBackIsNoClone(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := newProxy(t, func() string { return w.addr })
	l := w.agent(w.enrol(), t.TempDir(), func(o *agentlink.Options) { o.Servers = agentlink.Fixed(p.addr()) })
	run(t, l.Run)
	for i := range 5 {
		eventually(t, "the link is up", func() bool { return w.server.Stats().Accepted > int64(i+1) && l.Status().Connected })
		p.cut()
	}
	if n := w.server.Stats().Resumed; n == 0 {
		t.Error("no TLS session was resumed: every reconnection costs a full handshake")
	}
	if n := w.server.Stats().Clones; n != 0 {
		t.Errorf("%d clones seen where a node only lost its connection", n)
	}
}

func TestRenewal(t *testing.T) {
	w := newWorld(t)
	w.start()
	dir := t.TempDir()
	// A node whose certificate has 5 of 30 days left, on disk as enrolment leaves it.
	w.signAt = time.Now().Add(-25 * 24 * time.Hour)
	id, err := agentlink.Enrol(t.Context(), agentlink.EnrolOptions{DataDir: dir, Token: w.ca.NewJoinToken().String(), Servers: []string{w.addr}})
	if err != nil {
		t.Fatal(err)
	}
	w.signAt = time.Time{}

	l := w.agent(id, t.TempDir(), nil)
	was := l.Status().CertNotAfter
	run(t, l.Run)
	eventually(t, "the certificate is new", func() bool { return l.Status().CertNotAfter.After(was.Add(20 * 24 * time.Hour)) })
	if !l.Status().Connected {
		t.Error("the link broke for a renewal")
	}
	back, err := agentlink.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if back.NodeID() != id.NodeID() {
		t.Errorf("on the disk is node %s, want %s", back.NodeID(), id.NodeID())
	}
	// The new one is good for a new link.
	run(t, w.agent(back, t.TempDir(), nil).Run)
	eventually(t, "a link with the new certificate", func() bool { return w.server.Stats().Replaced > 0 })
}

func TestExpiredAgent(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.signAt = time.Now().Add(-pki.AgentLife - time.Hour)
	_, err := agentlink.Enrol(t.Context(), agentlink.EnrolOptions{DataDir: t.TempDir(), Token: w.ca.NewJoinToken().String(), Servers: []string{w.addr}})
	if mesh.CodeOf(err) != mesh.Unauthorized || !strings.Contains(err.Error(), "this node's certificate ended at") {
		t.Errorf("a clock far behind at the server: %v", err)
	}
}
