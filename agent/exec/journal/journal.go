package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh"
)

// Key names one attempt of a job.
type Key struct {
	Job     mesh.JobID `json:"j,omitempty"`
	Attempt int        `json:"a,omitempty"`
}

// String is the job and, behind a dot, the attempt.
func (k Key) String() string { return fmt.Sprintf("%s.%d", k.Job, k.Attempt) }

// KeyOf is the Key that a report is about.
func KeyOf(r mesh.Report) Key { return Key{r.Job, r.Attempt} }

// Stage is how far an attempt has come on this node.
type Stage int

// The stages, in order. None is an attempt that the journal knows nothing of.
const (
	None Stage = iota
	Taken
	Started
	Ended
)

// Entry is what the journal knows of an attempt that has not ended.
type Entry struct {
	Key
	Stage   Stage
	Expires int64 // Unix seconds.
	// Idempotent allows a second Start.
	Idempotent bool
	Woke       mesh.Woke
	Mark       string // of the last Start.
}

// Cursor is how far the node has read the references of its shard.
type Cursor struct {
	Epoch string
	Seq   uint64
}

// ErrStarted says that an attempt must not be started, because it was.
var ErrStarted = errors.New("the attempt was started before")

// Journal is an open journal. Its methods may be called from any goroutine;
// those that change it return when the change is on disk. After an error that
// leaves the file in doubt every change fails.
type Journal struct {
	path string
	lock *os.File

	mu      sync.Mutex
	file    *os.File
	size    int64
	broken  error
	born    time.Time
	damaged int
	cursor  Cursor
	entries map[Key]*entry
}

// entry is an Entry with what is only needed for the end.
type entry struct {
	Entry

	report *mesh.Report // set while it is Ended and not yet handed over.
	forget int64        // Unix seconds; until then the id is kept.
}

// Open opens the journal, makes it when it is missing, and mends what a crash
// has left. A second Open of the same path fails until Close.
func Open(path string, now time.Time) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close() // holds nothing.
		return nil, mesh.Errorf(mesh.Conflict, "open journal %s: another agent has it open: %w", path, err)
	}
	j := &Journal{path: path, lock: lock, entries: map[Key]*entry{}}
	if err := j.load(now); err != nil {
		_ = lock.Close() // the error says enough.
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	return j, nil
}

// Close closes the journal. It must not be used afterwards.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = os.ErrClosed
	return errors.Join(j.file.Close(), j.lock.Close())
}

// Born is when the journal began to remember without a gap.
func (j *Journal) Born() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.born
}

// Damaged is how many records were found unreadable when it was opened.
func (j *Journal) Damaged() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.damaged
}

// Cursor returns the cursor that was last recorded.
func (j *Journal) Cursor() Cursor {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cursor
}

// Stage says how far an attempt has come.
func (j *Journal) Stage(k Key) Stage {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.entries[k]; e != nil {
		return e.Stage
	}
	return None
}

// Open returns the attempts that have not ended, in order of their ids.
func (j *Journal) Open() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Entry
	for _, e := range j.entries {
		if e.Stage != Ended {
			out = append(out, e.Entry)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return compareKeys(a.Key, b.Key) })
	return out
}

// Unsent returns the reports of ends that were not handed over.
func (j *Journal) Unsent() []mesh.Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []mesh.Report
	for _, e := range j.entries {
		if e.report != nil {
			out = append(out, *e.report)
		}
	}
	slices.SortFunc(out, func(a, b mesh.Report) int { return compareKeys(KeyOf(a), KeyOf(b)) })
	return out
}

func compareKeys(a, b Key) int {
	if c := strings.Compare(string(a.Job), string(b.Job)); c != 0 {
		return c
	}
	return a.Attempt - b.Attempt
}

// Take records attempts that the node has verified and will run, and how far
// it has read. Attempts that are known already are left as they are. A cursor
// alone is not waited for: it only saves reads.
func (j *Journal) Take(c Cursor, entries ...Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var rs []record
	for _, e := range entries {
		if j.entries[e.Key] == nil {
			rs = append(rs, record{Kind: kindTake, Key: e.Key, Expires: e.Expires, Idempotent: e.Idempotent, Woke: e.Woke})
		}
	}
	if c != j.cursor {
		rs = append(rs, record{Kind: kindCursor, Epoch: c.Epoch, Seq: c.Seq})
	}
	return j.append(len(entries) > 0, rs...)
}

// Start records that an attempt is about to be started under a mark. It
// refuses with ErrStarted what was started before, unless it was taken as
// idempotent, and what has ended or was never taken.
func (j *Journal) Start(k Key, mark string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.entries[k]
	switch {
	case e == nil:
		return fmt.Errorf("start %s: it was not taken", k)
	case e.Stage == Ended, e.Stage == Started && !e.Idempotent:
		return fmt.Errorf("start %s: %w", k, ErrStarted)
	}
	return j.append(true, record{Kind: kindStart, Key: k, Mark: mark})
}

// End records how an attempt ended, or why it was refused; expires is that of
// the job. An attempt that has ended already keeps its first end.
func (j *Journal) End(r mesh.Report, expires int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.entries[KeyOf(r)]; e != nil && e.Stage == Ended {
		return nil
	}
	return j.append(true, record{Kind: kindEnd, Key: KeyOf(r), Expires: expires, Report: &r})
}

// Sent records that the report of an end was handed over. It does not wait
// for the disk: a report that is handed over twice does no harm.
func (j *Journal) Sent(k Key) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.entries[k]; e == nil || e.report == nil {
		return nil
	}
	return j.append(false, record{Kind: kindSent, Key: k})
}

// apply brings the state up to date with one record.
func (j *Journal) apply(r record) {
	e := j.entries[r.Key]
	if e == nil && r.Key != (Key{}) {
		e = &entry{Entry: Entry{Key: r.Key}}
		j.entries[r.Key] = e
	}
	switch r.Kind {
	case kindBorn:
		j.born = r.At
	case kindCursor:
		j.cursor = Cursor{Epoch: r.Epoch, Seq: r.Seq}
	case kindTake:
		e.Stage, e.Expires, e.Idempotent, e.Woke = Taken, r.Expires, r.Idempotent, r.Woke
	case kindStart:
		e.Stage, e.Mark = Started, r.Mark
	case kindEnd:
		e.Stage, e.Expires, e.report = Ended, r.Expires, r.Report
		e.forget = r.Forget
		if r.Report != nil {
			e.forget = max(r.Expires, r.Report.At.Unix()) + int64(mesh.RememberFor.Seconds())
		}
	case kindSent:
		e.report = nil
	}
}
