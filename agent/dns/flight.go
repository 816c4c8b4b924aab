package dns

import (
	"context"
	"sync"
)

// flights makes one question of many that are the same at a time. That is
// also what ends a loop: a question that an upstream sends back to us waits
// for itself and is not sent once more. The zero flights is ready.
type flights[T any] struct {
	mu sync.Mutex
	m  map[string]*flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	value T
}

// do returns what fn returns, or what another call under the same key does
// that has begun before; the value is shared. It is false when ctx ends first.
func (f *flights[T]) do(ctx context.Context, key string, fn func() T) (value T, ok bool) {
	f.mu.Lock()
	if other, ok := f.m[key]; ok {
		f.mu.Unlock()
		select {
		case <-other.done:
			return other.value, true
		case <-ctx.Done():
			return value, false
		}
	}
	mine := &flight[T]{done: make(chan struct{})}
	if f.m == nil {
		f.m = make(map[string]*flight[T])
	}
	f.m[key] = mine
	f.mu.Unlock()

	mine.value = fn()
	f.mu.Lock()
	delete(f.m, key)
	f.mu.Unlock()
	close(mine.done)
	return mine.value, true
}
