package leader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = mesh.Errorf(mesh.Unavailable, "consul is away")

// fake is a Consul with one key. A session ends exactly at its TTL, the
// earliest that Consul promises.
type fake struct {
	mu       sync.Mutex
	index    uint64
	key      *Holding
	sessions map[string]time.Time // when each ends.
	made     int
	changed  chan struct{}
	granted  func(session string) // called under mu, before a lock has a new holder.
}

func newFake() *fake {
	return &fake{index: 10, sessions: make(map[string]time.Time), changed: make(chan struct{})}
}

// touch is called with mu, after a change.
func (f *fake) touch() {
	f.index++
	close(f.changed)
	f.changed = make(chan struct{})
}

// expire ends what is due; it is called with mu.
func (f *fake) expire() {
	for id, end := range f.sessions {
		if !time.Now().Before(end) {
			f.end(id)
		}
	}
}

func (f *fake) end(id string) {
	delete(f.sessions, id)
	if f.key != nil && f.key.Session == id {
		f.touch()
		f.key.Session, f.key.Index = "", f.index
	}
}

// run ends sessions in time, as long as ctx lasts.
func (f *fake) run(ctx context.Context) {
	for ctx.Err() == nil {
		f.mu.Lock()
		f.expire()
		f.mu.Unlock()
		wait(ctx, 50*time.Millisecond)
	}
}

// deleteKey is what an operator can do.
func (f *fake) deleteKey() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key = nil
	f.touch()
}

func (f *fake) destroyAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.sessions {
		f.end(id)
	}
}

// restore goes back to a Consul of long ago.
func (f *fake) restore() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key, f.sessions = nil, make(map[string]time.Time)
	f.touch()
	f.index = 2
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// client is how one server reaches the fake.
type client struct {
	f *fake

	mu    sync.Mutex
	away  bool          // nothing gets through.
	mute  bool          // what is asked happens, and the answer is lost.
	delay time.Duration // of each answer.
	hang  time.Duration // the next call takes that long, whatever its context says.
	blind bool          // Follow tells nothing.
}

func (c *client) set(fn func(*client)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(c)
}

// call does fn as the network allows.
func (c *client) call(ctx context.Context, fn func() error) error {
	c.mu.Lock()
	away, mute, delay, hang := c.away, c.mute, c.delay, c.hang
	c.hang = 0
	c.mu.Unlock()
	if away {
		return errAway
	}
	wait(ctx, delay/2)
	if ctx.Err() != nil {
		return errAway
	}
	c.f.mu.Lock()
	c.f.expire()
	err := fn()
	c.f.mu.Unlock()
	time.Sleep(hang)
	wait(ctx, delay/2)
	if mute || ctx.Err() != nil {
		return errAway
	}
	return err
}

func (c *client) Create(ctx context.Context, ttl time.Duration) (id string, err error) {
	err = c.call(ctx, func() error {
		c.f.made++
		id = fmt.Sprintf("session-%d", c.f.made)
		c.f.sessions[id] = time.Now().Add(ttl)
		return nil
	})
	return id, err
}

func (c *client) Renew(ctx context.Context, id string) error {
	return c.call(ctx, func() error {
		if _, ok := c.f.sessions[id]; !ok {
			return mesh.Errorf(mesh.NotFound, "session %s is gone", id)
		}
		c.f.sessions[id] = time.Now().Add(MinTTL)
		return nil
	})
}

func (c *client) Destroy(ctx context.Context, id string) error {
	return c.call(ctx, func() error { c.f.end(id); return nil })
}

func (c *client) Acquire(ctx context.Context, session string, value []byte) (h Holding, err error) {
	err = c.call(ctx, func() error {
		f := c.f
		if _, ok := f.sessions[session]; !ok {
			return mesh.Errorf(mesh.NotFound, "session %s is gone", session)
		}
		if f.key != nil && f.key.Session != "" && f.key.Session != session {
			return mesh.Errorf(mesh.Conflict, "held by %s", f.key.Session)
		}
		if f.key == nil {
			f.key = &Holding{CreateIndex: f.index + 1}
		}
		if f.key.Session != session {
			if f.granted != nil {
				f.granted(session)
			}
			f.key.LockIndex++
		}
		f.touch()
		f.key.Session, f.key.Value, f.key.Index = session, value, f.index
		h = *f.key
		return nil
	})
	return h, err
}

func (c *client) Read(ctx context.Context) (h Holding, err error) {
	err = c.call(ctx, func() error {
		h = Holding{Index: c.f.index}
		if c.f.key != nil {
			h = *c.f.key
		}
		return nil
	})
	return h, err
}

func (c *client) Follow(ctx context.Context, fn func(Holding)) {
	var last uint64
	for ctx.Err() == nil {
		c.f.mu.Lock()
		changed := c.f.changed
		c.f.mu.Unlock()
		c.mu.Lock()
		deaf := c.away || c.blind
		c.mu.Unlock()
		if h, err := c.Read(ctx); err == nil && !deaf && h.Index != last {
			h.Reset = h.Index < last
			last = h.Index
			fn(h)
			continue
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(time.Second):
		}
	}
}

// server is a Leader in a test.
type server struct {
	*Leader

	c    *client
	stop func() // as at a clean stop.
	done chan struct{}
}

// start runs a server on the fake. The caller stops it.
func start(t *testing.T, f *fake, name string, mend ...func(*Options)) *server {
	t.Helper()
	c := &client{f: f}
	o := Options{Sessions: c, Lock: c, Me: Info{Name: name, API: "https://" + name}}
	for _, m := range mend {
		m(&o)
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{Leader: l, c: c, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		if err := l.Run(ctx); err != nil {
			t.Errorf("Run of %s = %v", name, err)
		}
	}()
	s.stop = func() { cancel(); <-s.done }
	return s
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

var errBoom = errors.New("boom")
