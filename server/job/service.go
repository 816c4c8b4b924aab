package job

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/query"
	"alps/mesh/sign"
)

// Resolver knows the nodes. It answers from memory; mesh.Unavailable while it
// does not know them yet.
type Resolver interface {
	Resolve(expr *query.Expr) ([]mesh.Node, error)
	// Node finds one node by its name or its NodeID.
	Node(name string) (mesh.Node, bool)
}

// Board is the KV store and the events of one datacenter.
type Board interface {
	// List returns what lies under a prefix. A consistent read is one that no
	// earlier write escapes; another may lag.
	List(ctx context.Context, prefix string, consistent bool) ([]Document, error)
	// Txn writes all or nothing and returns the index that everything it
	// wrote now has; mesh.Conflict when an index or a session did not match.
	// A VerbCheckSession comes last: it gives no index.
	Txn(ctx context.Context, writes []Write) (uint64, error)
	// Fire sends the user event dispatch.EventName.
	Fire(ctx context.Context, payload string) error
}

// Document is a key with its value. Index changes with every write.
type Document struct {
	Key   string
	Value []byte
	Index uint64
}

// Verb is what a Write does.
type Verb string

// The verbs. VerbCAS sets a key whose index is the given one, 0 for a key
// that must not exist; VerbDeleteTree deletes everything under a prefix;
// VerbCheckSession writes nothing and fails unless Session holds the lock of
// the key.
const (
	VerbSet          Verb = "set"
	VerbCAS          Verb = "cas"
	VerbDelete       Verb = "delete"
	VerbDeleteTree   Verb = "delete-tree"
	VerbCheckSession Verb = "check-session"
)

// Write is one operation of a transaction.
type Write struct {
	Verb    Verb
	Key     string
	Value   []byte
	Index   uint64
	Session string
}

// Stream tells whoever listens what has changed. Publish does not block; data
// is encoded as JSON and not kept.
type Stream interface {
	Publish(topic, kind string, data any)
}

// Asker asks a node for the output bodies of these digests. The node uploads
// them by itself, later.
type Asker interface {
	Ask(ctx context.Context, node mesh.NodeID, digests []string) error
}

// Signer is the server's own key with the grant that it was given.
type Signer struct {
	Key   sign.PrivateKey
	Grant sign.Envelope
}

// Options is what a Service needs. Signer may be nil: every job is then
// signed by an operator. Everything else but Limits is required.
type Options struct {
	Cluster  string
	DC       string // the server's own datacenter.
	History  History
	Resolver Resolver
	// Board returns the board of a datacenter. It does not block; a
	// datacenter that is away answers with errors.
	Board  func(dc string) Board
	Stream Stream
	Asker  Asker
	Signer *Signer
	Limits Limits
	// Root returns the trust root with the newest revocations; the zero Root
	// means that none was installed, and then nothing runs.
	Root   func() sign.Root
	Logger hclog.Logger
}

func (o *Options) validate() error {
	switch {
	case o.Cluster == "":
		return errors.New("job service: no cluster is named")
	case o.DC == "":
		return errors.New("job service: no datacenter is named")
	case o.History == nil, o.Resolver == nil, o.Board == nil, o.Stream == nil, o.Asker == nil, o.Root == nil, o.Logger == nil:
		return errors.New("job service: a dependency is missing")
	}
	return o.Limits.complete()
}

// Service owns the jobs of a cluster. Its methods may be called from any
// goroutine, while Run runs.
type Service struct {
	o    Options
	log  hclog.Logger
	asks *asks

	entries chan *entry // to the ledger.
	stopped chan struct{}

	mu         sync.RWMutex
	live       map[mesh.JobID]*live
	drafts     map[mesh.JobID]*draft
	publishers map[string]*publisher // by datacenter.
	start      func(*publisher)      // nil while Run does not run.
}

// New returns a Service that does nothing yet.
func New(o Options) (*Service, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Service{
		o: o, log: o.Logger, asks: newAsks(o.Asker, o.History, o.Logger.Named("output")),
		entries: make(chan *entry, 256), stopped: make(chan struct{}),
		live: make(map[mesh.JobID]*live), drafts: make(map[mesh.JobID]*draft), publishers: make(map[string]*publisher),
	}, nil
}

// Run does the work of the service until ctx ends. It first reads what is
// open, and announces what was stored and not announced. It may be called
// once.
func (s *Service) Run(ctx context.Context) error {
	defer close(s.stopped)
	if err := s.load(ctx); err != nil {
		return fmt.Errorf("read the open jobs: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.publisher(s.o.DC) // its heads are there before the first job is.
	s.startPublishers(func(p *publisher) { wg.Go(func() { p.run(ctx) }) })
	defer s.startPublishers(nil) // before wg.Wait: none is started after it.

	wg.Go(func() { s.asks.run(ctx) })
	wg.Go(func() { s.clean(ctx) })
	s.ledger(ctx)
	return nil
}

func (s *Service) startPublishers(start func(*publisher)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = start
	if start == nil {
		return
	}
	for _, p := range s.publishers {
		start(p)
	}
}

// publisher returns the publisher of a datacenter.
func (s *Service) publisher(dc string) *publisher {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.publishers[dc]
	if p == nil {
		p = newPublisher(dc, s)
		s.publishers[dc] = p
		if s.start != nil {
			s.start(p)
		}
	}
	return p
}

var errStopped = mesh.Errorf(mesh.Unavailable, "the server is shutting down").WithHint("try again: another server, or this one in a moment")
