package wire

import (
	"fmt"
	"testing"
	"time"
)

// TestSeldom holds the bound on what strangers can have us write.
func TestSeldom(t *testing.T) {
	var s seldom
	now := time.Now()
	for _, step := range []struct {
		what  string
		after time.Duration
		want  bool
	}{
		{"a", 0, true},
		{"a", 0, false},
		{"b", time.Minute, true},
		{"a", seldomEvery - 1, false},
		{"a", seldomEvery, true},
		{"b", seldomEvery, false},
	} {
		if got := s.first(step.what, now.Add(step.after)); got != step.want {
			t.Errorf("%q after %s: first = %v, want %v", step.what, step.after, got, step.want)
		}
	}
	let := 0
	for i := range 10 * seldomMost {
		if s.first(fmt.Sprint(i), now.Add(seldomEvery)) {
			let++
		}
	}
	if want := seldomMost - 2; let != want {
		t.Errorf("of many at once %d are first, want the %d that there is room for", let, want)
	}
	if !s.first("later", now.Add(2*seldomEvery)) {
		t.Error("an hour later there is still no room")
	}
}
