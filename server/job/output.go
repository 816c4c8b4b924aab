package job

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

const (
	askAgain   = 30 * time.Second // after this without a body another node is asked.
	askTimeout = 10 * time.Second // for a node to say that it has heard.
	askers     = 4                // asked at once: bodies come at the pace of the store.
	maxKnown   = 50_000           // digests remembered to be kept, about 6 MB.
	maxAsks    = 10_000           // bodies waited for; the store remembers the others.
	maxQueued  = 16_384           // more than the nodes that a restarted server hears from at once.
)

// asks gets the bodies of outputs that came as a digest alone. Only the first
// node that has a new digest is asked; the next ones when it does not deliver.
type asks struct {
	asker   Asker
	history History
	log     hclog.Logger
	queue   chan ask

	mu       sync.Mutex
	want     map[string]*want
	keeps    map[string]struct{} // digests that are kept, as far as remembered.
	recorded map[string]struct{} // refusals that were recorded lately.
}

type want struct {
	holders []mesh.NodeID // in the order in which they are asked.
	asked   time.Time     // the first of holders, zero when not yet.
}

// An ask goes to one node; without digests it is for all that the node has.
type ask struct {
	node    mesh.NodeID
	digests []string
}

func newAsks(a Asker, h History, log hclog.Logger) *asks {
	return &asks{
		asker: a, history: h, log: log, queue: make(chan ask, maxQueued),
		want: make(map[string]*want), keeps: make(map[string]struct{}), recorded: make(map[string]struct{}),
	}
}

func (a *asks) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range askers {
		wg.Go(func() { a.work(ctx) })
	}
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.again(time.Now())
		}
	}
}

func (a *asks) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-a.queue:
			if err := a.send(ctx, q); err != nil && ctx.Err() == nil {
				a.log.Debug("a node is not asked for its output; another, or later", "node", q.node, "error", err)
			}
		}
	}
}

func (a *asks) send(ctx context.Context, q ask) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if q.digests == nil {
		var err error
		if q.digests, err = a.history.Wanted(ctx, q.node); err != nil {
			return err
		}
	}
	const most = 256 // digests in one message: 17 KiB of at most 64.
	for chunk := range slices.Chunk(q.digests, most) {
		if err := a.asker.Ask(ctx, q.node, chunk); err != nil {
			return err
		}
	}
	return nil
}

// put queues an ask. When too many wait it is dropped: again asks later.
func (a *asks) put(q ask) {
	select {
	case a.queue <- q:
	default:
	}
}

// add waits for bodies that node has, and asks for those that nobody was
// asked for.
func (a *asks) add(node mesh.NodeID, digests []string) {
	var fresh []string
	a.mu.Lock()
	for _, d := range digests {
		w := a.want[d]
		switch {
		case w == nil && len(a.want) < maxAsks:
			a.want[d] = &want{holders: []mesh.NodeID{node}, asked: time.Now()}
			fresh = append(fresh, d)
		case w != nil && len(w.holders) < maxWanted && !slices.Contains(w.holders, node):
			w.holders = append(w.holders, node)
		}
	}
	a.mu.Unlock()
	if len(fresh) > 0 {
		a.put(ask{node, fresh})
	}
}

// again asks the next holder for what did not come.
func (a *asks) again(now time.Time) {
	next := make(map[mesh.NodeID][]string)
	a.mu.Lock()
	clear(a.recorded)
	for d, w := range a.want {
		if now.Sub(w.asked) < askAgain {
			continue
		}
		w.holders = append(w.holders[1:], w.holders[0])
		w.asked = now
		next[w.holders[0]] = append(next[w.holders[0]], d)
	}
	a.mu.Unlock()
	for node, digests := range next {
		a.put(ask{node, digests})
	}
}

// known reports whether a body is kept for certain.
func (a *asks) known(digest string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.keeps[digest]
	return ok
}

func (a *asks) holders(digest string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.want[digest]; w != nil {
		return len(w.holders)
	}
	return 0
}

// kept remembers that a body is kept, and waits for it no more.
func (a *asks) kept(digest string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.keeps) >= maxKnown {
		clear(a.keeps) // the store knows them all.
	}
	a.keeps[digest] = struct{}{}
	delete(a.want, digest)
}

// first reports whether a refusal was not recorded lately.
func (a *asks) first(what string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, seen := a.recorded[what]
	if len(a.recorded) < maxAsks {
		a.recorded[what] = struct{}{}
	}
	return !seen && len(a.recorded) < maxAsks
}

// Connected asks a node for the output that it has and that is not kept. It
// returns at once; the link calls it for each node that connects.
func (s *Service) Connected(node mesh.NodeID) { s.asks.put(ask{node: node}) }

// PutOutput keeps a body that a node was asked for. It may be called twice. A
// body that nobody wants of this node, or that is not what its digest says,
// is refused.
func (s *Service) PutOutput(ctx context.Context, from mesh.NodeID, digest string, body []byte) error {
	if mesh.Digest(body) != digest {
		return mesh.Errorf(mesh.Invalid, "output of %s: the body is not what the digest %q says", from, digest)
	}
	if s.asks.known(digest) {
		return nil
	}
	wanted, err := s.o.History.Wanted(ctx, from)
	if err != nil {
		return err
	}
	if !slices.Contains(wanted, digest) {
		if kept, err := s.o.History.KnownOutputs(ctx, []string{digest}); err != nil || len(kept) > 0 {
			return err
		}
		return mesh.Errorf(mesh.Denied, "output of %s: nobody has asked it for %s", from, digest)
	}
	if err := s.o.History.PutOutput(ctx, digest, body); err != nil {
		return err
	}
	s.asks.kept(digest)
	return nil
}

// Blob returns the script that an open job of the node runs, by its digest.
func (s *Service) Blob(ctx context.Context, from mesh.NodeID, sha256 string) ([]byte, error) {
	if !s.runs(from, sha256) {
		return nil, mesh.Errorf(mesh.NotFound, "no open job of %s runs the script %q", from, sha256)
	}
	return s.o.History.Output(ctx, sha256)
}

func (s *Service) runs(node mesh.NodeID, sha256 string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, l := range s.live {
		if sc := l.job.Spec.Script; sc == nil || sc.SHA256 != sha256 {
			continue
		}
		if i, ok := l.byNode[node]; ok && !l.targets[i].State.Ended() {
			return true
		}
	}
	return false
}
