package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"alps/mesh"
	"alps/mesh/zone"
)

// maxSlow is how many questions may wait for somebody else at a time: for an
// upstream or for Consul. More are not answered: who asks so much asks again.
const maxSlow = 512

// Server answers names. Its methods may be called from any goroutine.
type Server struct {
	o       Options
	log     hclog.Logger
	domains []domain
	ttl     uint32
	negTTL  uint32

	view  atomic.Pointer[view]
	table table

	mu    sync.Mutex // guards the replacement of view, and stage.
	stage zone.Stage
	dirty chan struct{}

	sockets   []*socket
	listener  *net.TCPListener
	upstreams []*upstream
	nets      []netip.Prefix // that this machine is in.
	forwards  flights[[]byte]
	asks      flights[found]
	askSlots  chan struct{}
	known     known
	slow      chan struct{}
	tcpConns  chan struct{}
	tasks     sync.WaitGroup // questions that wait.

	ctx    context.Context //nolint:containedctx // Run's: questions that wait end with it.
	counts []*counters
	extra  counters // of TCP and of questions that wait.
}

// counters are kept for each socket, so that cores do not wait for one
// another.
type counters struct {
	queries, hits, dropped, forwarded, forwardFailed, asked, truncated atomic.Uint64
	rcodes                                                             [4]atomic.Uint64 // 0, 2, 3, and all else.
	_                                                                  [64]byte
}

// New makes a Server, binds its sockets and reads the copy on the disk, if
// there is one. Call Run, or Close.
func New(o Options) (*Server, error) {
	listen, domains, err := o.validate()
	if err != nil {
		return nil, err
	}
	s := &Server{
		o: o, log: o.Logger, domains: domains, ttl: seconds(o.TTL), negTTL: seconds(o.NegativeTTL),
		dirty: make(chan struct{}, 1), slow: make(chan struct{}, maxSlow),
		askSlots: make(chan struct{}, maxAsks), tcpConns: make(chan struct{}, maxConns),
	}
	s.view.Store(&view{zone: new(zone.Zone), source: SourceNone})
	if err := s.load(); err != nil {
		s.log.Warn("the copy of the names cannot be used: a server will send them again", "error", err)
	}
	if err := s.listen(listen); err != nil {
		s.Close()
		return nil, err
	}
	s.nets = localNets()
	if s.upstreams, err = newUpstreams(o.Forward, s.Addr()); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close frees the sockets of a Server whose Run is not called.
func (s *Server) Close() {
	for _, c := range s.sockets {
		_ = c.conn.Close() // nothing was written.
	}
	if s.listener != nil {
		_ = s.listener.Close() // as above.
	}
}

// Addr returns the address that is listened on, with the port that the kernel
// has chosen if it was to.
func (s *Server) Addr() netip.AddrPort { return s.sockets[0].addr }

// Run answers until ctx ends, then writes the copy to the disk and returns
// nil. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	s.ctx = ctx
	for i, c := range s.sockets {
		g.Go(func() error { return s.serveUDP(c, s.counts[i]) })
	}
	g.Go(func() error { return s.serveTCP(ctx) })
	g.Go(func() error { return s.keep(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		s.Close()
		return nil
	})
	s.log.Info("answering names", "address", s.Addr().String(), "domains", s.o.Domains, "forward", s.o.Forward,
		"source", s.view.Load().source, "nodes", s.Zone().Nodes())
	err := g.Wait()
	s.tasks.Wait()
	return err
}

// keep writes the copy when something has changed, and looks whether a server
// is there.
func (s *Server) keep(ctx context.Context) error {
	tick := time.NewTicker(s.o.tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.save()
			return nil
		case now := <-tick.C:
			s.refresh(now)
		case <-s.dirty:
			if !s.saveLater(ctx) {
				return nil
			}
		}
	}
}

// worker is what one goroutine answers with. Its buffers are used again.
type worker struct {
	s      *Server
	from   netip.Addr // who sent the packet.
	q      query
	out    []byte
	rnd    random
	counts *counters
}

// answer answers a packet. The reply is in w.out and good until the next call.
// Where it is nil and wait is not, the question must wait: wait is to be
// called on another goroutine, once. Where both are nil there is no answer.
func (w *worker) answer(packet []byte, tcp bool) (reply []byte, wait func(context.Context) []byte) {
	w.counts.queries.Add(1)
	q := &w.q
	q.from = w.from
	switch q.parse(packet, tcp) {
	case verdictDrop:
		w.counts.dropped.Add(1)
		return nil, nil
	case verdictFormErr:
		return w.bareHeader(packet, rcodeFormErr), nil
	case verdictNotImp:
		return w.bareHeader(packet, rcodeNotImp), nil
	case verdictOK:
	}
	v := w.s.view.Load()
	if key := q.key(); len(key) > 0 {
		if p := w.s.table.find(key, v.gen); p != nil {
			w.counts.hits.Add(1)
			return w.hit(p), nil
		}
	}
	return w.miss(v)
}

func (w *worker) bareHeader(packet []byte, rcode int) []byte {
	w.counts.rcode(rcode)
	w.out = header(w.out, packet, rcode)
	return w.out
}

// hit makes the reply from a packed one.
func (w *worker) hit(p *packed) []byte {
	v := &p.variants[0]
	if len(p.variants) > 1 {
		v = &p.variants[w.rnd.next()%uint64(len(p.variants))]
	}
	q := &w.q
	w.out = append(w.out[:0], v.wire...)
	b := w.out
	b[0], b[1] = q.packet[0], q.packet[1]
	b[2] = b[2]&^bitRD | q.packet[2]&bitRD
	b[3] = b[3]&^bitCD | q.packet[3]&bitCD
	copy(b[headerSize:], q.name)
	if v.do > 0 {
		b[v.do] = 0
		if q.do {
			b[v.do] = 0x80
		}
	}
	w.counts.sent(b)
	return b
}

// miss answers from the view what is not packed yet, and says what has to
// wait for others.
func (w *worker) miss(v *view) (reply []byte, wait func(context.Context) []byte) {
	q := &w.q
	if q.class != classIN || q.vers != 0 {
		a := refused()
		if q.vers != 0 {
			a.rcode = rcodeBadVers
		}
		return w.pack(v, &a), nil
	}
	r := resolver{s: w.s, v: v, q: q}
	a, foreign := r.resolve()
	if r.missed.name != "" && w.s.mayAsk(v) {
		return nil, w.s.ask(q, r.missed)
	}
	if foreign {
		return w.foreign(v)
	}
	if w.s.chases(q, &a) {
		s, own := w.s, q.clone()
		return nil, func(ctx context.Context) []byte { return s.complete(ctx, own, v, &a) }
	}
	if len(q.key()) > 0 && !r.volatile {
		p := w.s.packAll(v, q, &a, &w.rnd)
		w.s.table.put(p)
		return w.hit(p), nil
	}
	return w.pack(v, &a), nil
}

// foreign answers a name that is not ours.
func (w *worker) foreign(v *view) (reply []byte, wait func(context.Context) []byte) {
	if !w.s.mayForward(&w.q) {
		a := refused()
		return w.pack(v, &a), nil
	}
	return nil, w.s.forward(&w.q)
}

func (w *worker) pack(v *view, a *answer) []byte {
	var order []int
	if len(a.records) > 1 {
		order = w.rnd.order(a.records, fits(w.q.limit))
	}
	w.out, _ = w.s.packerOf(v).pack(w.out, &w.q, a, order)
	w.counts.sent(w.out)
	return w.out
}

func (s *Server) packerOf(v *view) packer {
	return packer{ra: len(s.upstreams) > 0, serial: uint32(v.zone.Serial()), negTTL: s.negTTL}
}

// packAll makes the reply to a question in all the orders that are kept.
func (s *Server) packAll(v *view, q *query, a *answer, rnd *random) *packed {
	p := &packed{key: append([]byte(nil), q.key()...), gen: v.gen}
	pk := s.packerOf(v)
	for _, order := range rnd.orders(a.records, fits(q.limit)) {
		wire, do := pk.pack(make([]byte, 0, 256), q, a, order)
		p.variants = append(p.variants, variant{append(make([]byte, 0, len(wire)), wire...), do})
		p.size += int64(len(wire)) + 40
	}
	p.size += int64(len(p.key)) + 120
	if len(a.records) > 1 {
		p.until = time.Now().Add(reshuffle).UnixNano()
	}
	return p
}

func (c *counters) sent(reply []byte) {
	c.rcode(int(reply[3] & 0xf))
	if reply[2]&bitTC != 0 {
		c.truncated.Add(1)
	}
}

func (c *counters) rcode(rcode int) {
	switch rcode {
	case rcodeOK:
		c.rcodes[0].Add(1)
	case rcodeServFail:
		c.rcodes[1].Add(1)
	case rcodeNXDomain:
		c.rcodes[2].Add(1)
	default:
		c.rcodes[3].Add(1)
	}
}

// wait runs what has to wait, on a goroutine of its own, and hands its reply
// to done. It reports false when too much waits already.
func (s *Server) wait(fn func(context.Context) []byte, done func([]byte)) bool {
	select {
	case s.slow <- struct{}{}:
	default:
		s.extra.dropped.Add(1)
		return false
	}
	s.tasks.Go(func() {
		defer func() { <-s.slow }()
		if reply := fn(s.ctx); reply != nil {
			s.extra.sent(reply)
			done(reply)
		}
	})
	return true
}

// closed reports whether an error of a socket is because Run ends.
func closed(err error) bool { return errors.Is(err, net.ErrClosed) }

// Status is how the names are doing, for people.
type Status struct {
	Listen   string    `json:"listen"`
	Source   Source    `json:"source"`
	Serial   uint64    `json:"serial"`
	Built    time.Time `json:"built,omitzero"` // by the server's clock.
	Nodes    int       `json:"nodes"`
	Services int       `json:"services"`
	// Age is how many seconds nobody has vouched for the view.
	Age   int64 `json:"age"`
	Stale bool  `json:"stale,omitempty"` // answers live for 5 s at most.

	Queries   uint64 `json:"queries"`
	Hits      uint64 `json:"hits"` // answered from what was packed before.
	OK        uint64 `json:"ok"`
	NoName    uint64 `json:"no_name"`
	Failed    uint64 `json:"failed"`
	Other     uint64 `json:"other"` // refused, or not understood.
	Truncated uint64 `json:"truncated"`
	Dropped   uint64 `json:"dropped"` // no question, or too many at once.
	Forwarded uint64 `json:"forwarded"`
	// ForwardFailed are those of Forwarded that no upstream has answered.
	ForwardFailed uint64 `json:"forward_failed"`
	Asked         uint64 `json:"asked"` // of the local Consul agent.
}

// Status returns the state of now and counts since the start.
func (s *Server) Status() Status {
	v := s.view.Load()
	st := Status{
		Listen: s.Addr().String(), Source: v.source, Serial: v.zone.Serial(), Built: v.zone.Built(),
		Nodes: v.zone.Nodes(), Services: v.zone.Services(), Age: int64(v.age(time.Now()) / time.Second), Stale: v.stale,
	}
	for _, c := range append([]*counters{&s.extra}, s.counts...) {
		st.Queries += c.queries.Load()
		st.Hits += c.hits.Load()
		st.OK += c.rcodes[0].Load()
		st.Failed += c.rcodes[1].Load()
		st.NoName += c.rcodes[2].Load()
		st.Other += c.rcodes[3].Load()
		st.Truncated += c.truncated.Load()
		st.Dropped += c.dropped.Load()
		st.Forwarded += c.forwarded.Load()
		st.ForwardFailed += c.forwardFailed.Load()
		st.Asked += c.asked.Load()
	}
	return st
}

func errListen(network string, addr netip.AddrPort, err error) error {
	return mesh.Errorf(mesh.Unavailable, "dns: listen on %s %s: %w", network, addr, err).
		WithHint("see who has it: `ss -lnup 'sport = :%d'`; ports below 1024 need CAP_NET_BIND_SERVICE", addr.Port())
}
