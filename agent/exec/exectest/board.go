package exectest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"sync"
)

// ErrAway is what reads fail with while the board is away.
var ErrAway = errors.New("the board is away")

// Board is an exec.Board in memory. Its methods may be called from any
// goroutine.
type Board struct {
	mu      sync.Mutex
	values  map[string][]byte
	stale   map[string][]byte // what reads that are not consistent still see.
	changed chan struct{}     // closed and made anew at each change.
	hearers map[chan string]bool
	resets  int
	away    bool
	deaf    bool
	reads   map[string]int
}

// NewBoard returns an empty board.
func NewBoard() *Board {
	return &Board{
		values: map[string][]byte{}, stale: map[string][]byte{}, changed: make(chan struct{}),
		hearers: map[chan string]bool{}, reads: map[string]int{},
	}
}

func (b *Board) changedLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Set writes a value; nil deletes it.
func (b *Board) Set(key string, value []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if value == nil {
		delete(b.values, key)
	} else {
		b.values[key] = value
	}
	b.changedLocked()
}

// Lag has reads that are not consistent see value for key from now on, nil
// for a key that has not arrived yet, until Catch.
func (b *Board) Lag(key string, value []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stale[key] = value
}

// Catch ends all lags.
func (b *Board) Catch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.stale)
	b.changedLocked()
}

// Away has all reads fail, and the watch stand still, while it is true.
func (b *Board) Away(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
	b.changedLocked()
}

// Deaf has the watch notice nothing but kicks while it is true.
func (b *Board) Deaf(deaf bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf = deaf
	b.changedLocked()
}

// Snapshot returns a copy of all values.
func (b *Board) Snapshot() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.values)
}

// Restore puts the values of a snapshot in place: the board goes back in
// time, and the watch says so.
func (b *Board) Restore(values map[string][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values = maps.Clone(values)
	b.resets++
	b.changedLocked()
}

// Fire sends an event to all who watch for events.
func (b *Board) Fire(payload string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := range b.hearers {
		select {
		case h <- payload:
		default: // lost, as events are.
		}
	}
}

// Reads is how often a key was read.
func (b *Board) Reads(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads[key]
}

// Read is that of exec.Board.
func (b *Board) Read(ctx context.Context, key string, consistent bool) ([]byte, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	if b.away {
		return nil, false, ErrAway
	}
	b.reads[key]++
	if v, lags := b.stale[key]; lags && !consistent {
		return bytes.Clone(v), v != nil, nil
	}
	v, ok := b.values[key]
	return bytes.Clone(v), ok, nil
}

// WatchHead is that of exec.Board.
func (b *Board) WatchHead(ctx context.Context, key string, kick <-chan struct{}, fn func(doc []byte, reset bool)) {
	var last []byte
	resets, first, kicked := -1, true, false
	for ctx.Err() == nil {
		b.mu.Lock()
		v, changed := bytes.Clone(b.values[key]), b.changed
		reset := resets >= 0 && resets != b.resets
		if l, lags := b.stale[key]; lags {
			v = bytes.Clone(l)
		}
		quiet := b.away || (b.deaf && !kicked)
		if !quiet {
			resets = b.resets
		}
		b.mu.Unlock()
		if !quiet && (first || reset || !bytes.Equal(v, last)) {
			last, first = v, false
			fn(v, reset)
		}
		kicked = false
		select {
		case <-ctx.Done():
		case <-changed:
		case <-kick:
			kicked = true
		}
	}
}

// WatchEvents is that of exec.Board.
func (b *Board) WatchEvents(ctx context.Context, fn func(payload string)) {
	h := make(chan string, 256)
	b.mu.Lock()
	b.hearers[h] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.hearers, h)
		b.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-h:
			fn(p)
		}
	}
}
