package leader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

const (
	// MinTTL is Consul's least time for a session, and leaves a lease of 5 s:
	// two renewals may be lost before it lapses.
	MinTTL = 10 * time.Second
	// margin is how long before the TTL of the last confirmed renewal a lease
	// ends. It covers clocks that run apart and an effect that is under way.
	margin = 5 * time.Second
	// retryEvery lies between two attempts at what has failed.
	retryEvery = 500 * time.Millisecond
	// stopTime is what giving the lock back may take when the server stops.
	stopTime = 2 * time.Second
)

// Sessions are what a lock is held with.
type Sessions interface {
	// Create begins a session that ends by itself when it was not renewed for
	// the TTL, never before, and by nothing else.
	Create(ctx context.Context, ttl time.Duration) (id string, err error)
	// Renew is mesh.NotFound when the session is gone.
	Renew(ctx context.Context, id string) error
	// Destroy ends a session and frees its lock at once. A missing one is no
	// error.
	Destroy(ctx context.Context, id string) error
}

// Lock is the key that servers compete for.
type Lock interface {
	// Acquire locks the key with a session and writes value. A session that
	// holds it already keeps its LockIndex. It is mesh.Conflict when another
	// holds it, mesh.NotFound when the session is gone.
	Acquire(ctx context.Context, session string, value []byte) (Holding, error)
	// Read returns what Consul's own leader knows of the lock.
	Read(ctx context.Context) (Holding, error)
	// Follow calls fn, from one goroutine, with the state of the lock and each
	// time that it has changed, until ctx ends. It tries again by itself when
	// Consul is away.
	Follow(ctx context.Context, fn func(Holding))
}

// Holding is the state of the lock at one moment. The zero Holding is a key
// that is missing.
type Holding struct {
	Session     string // that holds it; empty: nobody does.
	Value       []byte
	LockIndex   uint64 // grows with each change of the holder.
	CreateIndex uint64
	Index       uint64 // orders the states of the lock.
	Reset       bool   // Index went backwards, as after a restore of Consul.
}

// Info says who leads.
type Info struct {
	Name  string    `json:"name"`
	API   string    `json:"api"` // where its API is.
	Since time.Time `json:"since,omitzero"`
}

// value is what stands in the key.
type value struct {
	Info

	// Base is added to the LockIndex. It keeps terms growing when the key was
	// deleted or Consul restored, and its LockIndex began again.
	Base uint64 `json:"base,omitempty"`
}

// Term is a time in which one server leads.
type Term struct {
	// Index is the fencing token: every later term of any server has a
	// greater one.
	Index   uint64
	Session string // that holds the lock.
	Since   time.Time
}

// Options are what a Leader is made of. Sessions, Lock and Me.Name are
// required.
type Options struct {
	Sessions Sessions
	Lock     Lock
	TTL      time.Duration // of the session; zero is MinTTL.
	Me       Info          // what others are told; Since is filled in.
	// SessionFile is where the session is kept. One that an earlier process of
	// the same data directory has left there is ended at the start, so that a
	// server that was killed leads again within a moment. That is only safe
	// while LockDir holds the directory. Empty: it is not kept.
	SessionFile string
	// Floor returns the highest term that was ever seen, wherever terms are
	// remembered; a term begins above it. Nil: there is none.
	Floor  func(context.Context) (uint64, error)
	Logger hclog.Logger // nil is silent.
}

// Leader competes for the lock. Its methods may be called from any goroutine,
// before, while and after Run runs.
type Leader struct {
	o    Options
	log  hclog.Logger
	kick chan struct{} // there is something to do before the timer says so.

	// Of the goroutine of Run alone.
	old     string    // of an earlier process, to be ended first.
	renewed time.Time // when the last renewal that succeeded was sent.
	away    bool      // Consul does not answer, and that was said.

	mu sync.Mutex
	// session is ours, whether it holds the lock or not; empty: none. Only the
	// goroutine of Run changes it.
	session string
	news    chan struct{} // closed and replaced when what follows changes.
	deaf    lease         // since an attempt began that failed: Consul does not answer.
	known   bool          // seen is something that was read.
	seen    Holding       // the newest state of the lock.
	base    uint64        // the highest Base that was seen.
	top     uint64        // the highest term that was seen.
	cur     *incumbency   // nil: another server leads, or none.
	closed  chan struct{} // for Deposed while there is no incumbency.
}

// incumbency is the time from an election until another server leads.
type incumbency struct {
	term    Term
	created uint64 // CreateIndex of the key.
	until   lease
	lost    bool // nobody holds the lock: it must be taken again.
	deposed chan struct{}
}

// lease is a span of time that began at sent.
type lease struct {
	sent time.Time
	d    time.Duration
}

// holds reports whether the lease lasts at now. The monotonic clock stands
// still while a machine is suspended, and the wall clock can be set back: the
// one that has gone further counts.
func (l lease) holds(now time.Time) bool {
	if l.sent.IsZero() {
		return false
	}
	return now.Sub(l.sent) < l.d && now.Round(0).Sub(l.sent.Round(0)) < l.d
}

// New returns a Leader that leads nothing yet.
func New(o Options) (*Leader, error) {
	if o.TTL == 0 {
		o.TTL = MinTTL
	}
	switch {
	case o.Sessions == nil || o.Lock == nil:
		return nil, errors.New("new leader: Sessions and Lock are both needed")
	case o.Me.Name == "":
		return nil, errors.New("new leader: the server has no name")
	case o.TTL < MinTTL:
		return nil, mesh.Errorf(mesh.Invalid, "a leader's session of %s is shorter than %s", o.TTL, MinTTL)
	}
	if o.Floor == nil {
		o.Floor = func(context.Context) (uint64, error) { return 0, nil }
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	closed := make(chan struct{})
	close(closed)
	return &Leader{o: o, log: o.Logger, kick: make(chan struct{}, 1), news: make(chan struct{}), closed: closed}, nil
}

// Held returns the term in which this server leads now; false when it does
// not, or cannot be sure. Ask right before each effect.
func (l *Leader) Held() (Term, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held(time.Now())
}

func (l *Leader) held(now time.Time) (Term, bool) {
	if l.cur == nil || l.cur.lost || !l.cur.until.holds(now) {
		return Term{}, false
	}
	return l.cur.term, true
}

// Await blocks until this server leads, or ctx ends.
func (l *Leader) Await(ctx context.Context) (Term, error) {
	for {
		l.mu.Lock()
		term, ok := l.held(time.Now())
		news := l.news
		l.mu.Unlock()
		if ok {
			return term, nil
		}
		select {
		case <-ctx.Done():
			return Term{}, context.Cause(ctx)
		case <-news:
		}
	}
}

// Stands returns nil when this server leads, or when nobody can know better:
// it led last and Consul does not answer. It waits for that answer, at most
// until ctx ends. A server that was stopped for a while learns here that
// another one leads before it takes in what has come meanwhile. The error is
// mesh.Unavailable.
func (l *Leader) Stands(ctx context.Context) error {
	for {
		l.mu.Lock()
		_, held := l.held(time.Now())
		last, deaf, news := l.cur != nil, l.deaf.holds(time.Now()), l.news
		l.mu.Unlock()
		switch {
		case held, last && deaf:
			return nil
		case !last:
			return mesh.Errorf(mesh.Unavailable, "this server does not lead").WithHint("try again: another one does")
		}
		select {
		case <-ctx.Done():
			return mesh.Errorf(mesh.Unavailable, "find out who leads: %w", context.Cause(ctx))
		case <-news:
		}
	}
}

// Incumbent returns the last term of this server while no other has taken the
// lock since, also when the lease has lapsed. Nothing may be done with it that
// is not fenced.
func (l *Leader) Incumbent() (Term, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur == nil {
		return Term{}, false
	}
	return l.cur.term, true
}

// Deposed returns a channel that is closed when this server leads no more:
// another one does, or Run has ended. A lease that lapses does not close it. It
// is that of the present incumbency, and closed if there is none.
func (l *Leader) Deposed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur == nil {
		return l.closed
	}
	return l.cur.deposed
}

// Leader says who leads, as last heard; false when nobody does. It may be this
// server.
func (l *Leader) Leader() (Info, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen.Session == "" {
		return Info{}, false
	}
	return readValue(l.seen.Value).Info, true
}

// Seen returns the highest term that was heard of, of whichever server, 0
// before the first. A server that is cut off from Consul falls behind.
func (l *Leader) Seen() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.top
}

// readValue reads what stands in the key. What cannot be read names nobody.
func readValue(b []byte) value {
	var v value
	if err := json.Unmarshal(b, &v); err != nil {
		return value{}
	}
	return v
}

// changed wakes whoever waits for news. The caller holds the lock.
func (l *Leader) changed() {
	close(l.news)
	l.news = make(chan struct{})
}

// observe takes in a state of the lock. It only takes leadership away, never
// gives it.
func (l *Leader) observe(h Holding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known && !h.Reset && h.Index < l.seen.Index {
		return // overtaken by what is known.
	}
	fresh := !l.known || h.Index != l.seen.Index
	l.see(h)
	switch {
	case l.cur == nil:
	case h.Session == "":
		l.lose()
	case h.Session != l.cur.term.Session && h.Session != l.session:
		l.depose("another server leads")
	}
	if fresh {
		l.changed()
	}
	if fresh && h.Session == "" {
		l.again()
	}
}

// see remembers the newest state of the lock. The caller holds the lock.
func (l *Leader) see(h Holding) {
	l.known, l.seen = true, h
	v := readValue(h.Value)
	l.base, l.top = max(l.base, v.Base), max(l.top, v.Base+h.LockIndex)
}

// lose notes that the lock must be taken again. The caller holds the lock.
func (l *Leader) lose() {
	if !l.cur.lost {
		l.cur.lost = true
		l.log.Warn("the lock was lost; taking it again", "term", l.cur.term.Index)
	}
}

// depose ends the incumbency, if there is one. The caller holds the lock.
func (l *Leader) depose(why string) {
	if l.cur == nil {
		return
	}
	close(l.cur.deposed)
	l.log.Info("this server leads no more", "term", l.cur.term.Index, "reason", why, "leader", readValue(l.seen.Value).Name)
	l.cur = nil
	l.changed()
}

// String names a term in messages.
func (t Term) String() string { return fmt.Sprintf("term %d", t.Index) }
