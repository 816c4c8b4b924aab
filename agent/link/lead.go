package link

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/pki"
)

const (
	leadFile = "lead" // in the identity's directory.
	// leadHolds is how long a term that was seen shuts out servers that have
	// only heard of older ones. It is longer than a server that was cut off or
	// stopped goes unnoticed, and not for ever: after a restore of Consul, or
	// with a new store, terms may begin again, and agents must find their way
	// back by themselves.
	leadHolds = 10 * time.Minute
)

// lead remembers the highest term of a leader that a server has told of, in
// memory and on disk. Its methods may be called from any goroutine.
type lead struct {
	path string

	mu    sync.Mutex
	seen  seenLead
	saved seenLead
}

// seenLead is a term, and when a server last stood by it.
type seenLead struct {
	Term uint64    `json:"term"`
	At   time.Time `json:"at"`
}

// readLead reads what an earlier process has left in dir. What cannot be read
// is forgotten: it only guards against a rare mishap.
func readLead(dir string) *lead {
	l := &lead{path: filepath.Join(dir, leadFile)}
	b, err := os.ReadFile(l.path)
	if err == nil && json.Unmarshal(b, &l.seen) != nil {
		l.seen = seenLead{}
	}
	l.saved = l.seen
	return l
}

// take judges a server by the highest term that it has heard of. One that
// knows of no lock is never refused, and proves nothing.
func (l *lead) take(server string, term uint64, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A clock that was set back must not make it last longer.
	if term == 0 || term < l.seen.Term && now.Sub(l.seen.At).Abs() >= leadHolds {
		if term > 0 {
			l.seen = seenLead{term, now}
		}
		return nil
	}
	if term < l.seen.Term {
		return mesh.Errorf(mesh.Unavailable, "the server %q is behind: it knows of term %d, and term %d has begun", server, term, l.seen.Term).
			WithHint("can it reach Consul? If Consul was restored from a backup, this node takes the server at %s", l.seen.At.Add(leadHolds).UTC().Format(time.RFC3339))
	}
	l.seen = seenLead{term, now}
	return nil
}

// seenUntil notes that the server which was taken last has gone at now.
func (l *lead) seenUntil(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen.Term > 0 {
		l.seen.At = now
	}
}

func (l *lead) highest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen.Term
}

// save keeps what was seen, unless the file says about the same: an agent whose
// link flaps does not write all the time.
func (l *lead) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen.Term == l.saved.Term && l.seen.At.Sub(l.saved.At).Abs() < time.Minute {
		return nil
	}
	b, err := json.Marshal(l.seen)
	if err != nil {
		return err
	}
	if err := pki.WriteFile(l.path, append(b, '\n'), 0o600); err != nil {
		return err
	}
	l.saved = l.seen
	return nil
}
