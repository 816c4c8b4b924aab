package jobtest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/server/job"
)

// Board is a job.Board in memory. The zero Board is empty.
type Board struct {
	// Before, when it is set, is called at the start of every transaction,
	// without a lock: it may change the Board, as another server would, or
	// return an error. It must not be changed while the Board is used.
	Before func(writes []job.Write) error
	// Lag makes reads that are not consistent return what was there before
	// the last transaction.
	Lag bool

	mu     sync.Mutex
	docs   map[string]job.Document
	old    map[string]job.Document // before the last transaction.
	index  uint64
	away   bool
	txns   int
	events []dispatch.Event
	locks  map[string]string // session by key.
}

var _ job.Board = (*Board)(nil)

// Snapshot is the state of a Board at some time.
type Snapshot map[string]job.Document

// List implements job.Board.
func (b *Board) List(_ context.Context, prefix string, consistent bool) ([]job.Document, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return nil, errAway
	}
	docs := b.docs
	if b.Lag && !consistent {
		docs = b.old
	}
	var out []job.Document
	for _, k := range slices.Sorted(maps.Keys(docs)) {
		if strings.HasPrefix(k, prefix) {
			out = append(out, docs[k])
		}
	}
	return out, nil
}

var errAway = mesh.Errorf(mesh.Unavailable, "the board is away")

// Txn implements job.Board. It holds to Consul's limits.
func (b *Board) Txn(_ context.Context, writes []job.Write) (uint64, error) {
	if b.Before != nil {
		if err := b.Before(writes); err != nil {
			return 0, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return 0, errAway
	}
	size := 0
	for _, w := range writes {
		size += len(w.Key) + len(w.Value)*4/3 + 100
		if w.Verb == job.VerbCAS && b.docs[w.Key].Index != w.Index {
			return 0, mesh.Errorf(mesh.Conflict, "index of %s", w.Key)
		}
		if w.Verb == job.VerbCheckSession && b.locks[w.Key] != w.Session {
			return 0, mesh.Errorf(mesh.Conflict, "session of %s", w.Key)
		}
	}
	if len(writes) > 128 || size > 512<<10 || len(writes) == 0 {
		return 0, mesh.Errorf(mesh.TooLarge, "%d operations of %d bytes in one transaction", len(writes), size)
	}
	if b.docs == nil {
		b.docs = make(map[string]job.Document)
	}
	if b.Lag {
		b.old = maps.Clone(b.docs)
	}
	b.index++
	b.txns++
	for _, w := range writes {
		switch w.Verb {
		case job.VerbSet, job.VerbCAS:
			b.docs[w.Key] = job.Document{Key: w.Key, Value: bytes.Clone(w.Value), Index: b.index}
		case job.VerbDelete:
			delete(b.docs, w.Key)
		case job.VerbDeleteTree:
			maps.DeleteFunc(b.docs, func(k string, _ job.Document) bool { return strings.HasPrefix(k, w.Key) })
		}
	}
	return b.index, nil
}

// Fire implements job.Board.
func (b *Board) Fire(_ context.Context, payload string) error {
	e, err := dispatch.ParseEvent(payload)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return errAway
	}
	b.events = append(b.events, e)
	return nil
}

// SetAway makes the Board answer nothing but errors, or answer again.
func (b *Board) SetAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// SetLock has a session hold the lock of a key.
func (b *Board) SetLock(key, session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.locks == nil {
		b.locks = make(map[string]string)
	}
	b.locks[key] = session
}

// Get returns the value of a key, nil when there is none.
func (b *Board) Get(key string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.docs[key].Value
}

// Txns is how many transactions were written, which is how many Raft entries
// it took.
func (b *Board) Txns() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.txns
}

// Events returns the events that were fired.
func (b *Board) Events() []dispatch.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events)
}

// Save returns a snapshot for Restore.
func (b *Board) Save() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.docs)
}

// Restore brings a snapshot back, as consul snapshot restore does: values are
// old, and indexes go on.
func (b *Board) Restore(s Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	b.docs = maps.Clone(s)
	if b.docs == nil {
		b.docs = make(map[string]job.Document)
	}
}
