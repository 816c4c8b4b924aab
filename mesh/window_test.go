package mesh_test

import (
	"testing"
	"time"

	"alps/mesh"
)

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		text string
		of   int
		want int // -1: refused.
	}{
		{"50%", 3, 2},
		{"50%", 2, 1},
		{"10%", 5, 1},
		{"0%", 5, 0},
		{"100%", 7, 7},
		{"", 7, 7},
		{"1", 9, 1},
		{"3", 1, 3},
		{"101%", 1, -1},
		{"-1", 1, -1},
		{"+1", 1, -1},
		{"half", 1, -1},
		{"%", 1, -1},
		{"1 %", 1, -1},
		{"99999999999999999999", 1, -1},
	} {
		s, err := mesh.ParseShare(tt.text)
		if got := s.Of(tt.of); (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("%q of %d: %d, %v; want %d", tt.text, tt.of, got, err, tt.want)
		}
	}
}

func TestWindow(t *testing.T) {
	at := func(s string) time.Time { // 2026-11-21 is a Saturday.
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		window, at string
		want       bool
	}{
		{"22:00-04:00", "2026-11-21 22:00", true},
		{"22:00-04:00", "2026-11-21 03:59", true},
		{"22:00-04:00", "2026-11-21 04:00", false},
		{"sat 22:00-04:00", "2026-11-22 01:00", true},
		{"sat 22:00-04:00", "2026-11-21 01:00", false},
		{"sat 22:00-04:00", "2026-11-21 23:00", true},
		{"mon-fri 09:00-17:00", "2026-11-20 12:00", true},
		{"mon-fri 09:00-17:00", "2026-11-21 12:00", false},
		{"fri-mon 00:00-24:00", "2026-11-23 23:59", true},
		{"fri-mon 00:00-24:00", "2026-11-24 00:00", false},
		{"SAT 08:00-09:00", "2026-11-21 08:30", true},
	} {
		w, err := mesh.ParseWindow(tt.window)
		if err != nil || w.Holds(at(tt.at)) != tt.want {
			t.Errorf("%q at %s: %t, %v; want %t", tt.window, tt.at, w.Holds(at(tt.at)), err, tt.want)
		}
	}
	for _, s := range []string{"", "sat", "22:00", "24:00-25:00", "24:00-24:00", "9:00-10:00", "sam 09:00-10:00", "09:60-10:00", "a b c", "sat- 09:00-10:00", "+9:00-10:00"} {
		if w, err := mesh.ParseWindow(s); err == nil || w.Holds(time.Now()) {
			t.Errorf("%q is taken", s)
		}
	}
}

func FuzzParseWindow(f *testing.F) {
	f.Add("mon-fri 09:00-17:00")
	f.Fuzz(func(t *testing.T, s string) {
		w, err := mesh.ParseWindow(s)
		held := 0
		for h := range 7 * 24 * 60 {
			if w.Holds(time.Unix(int64(h)*60, 0).UTC()) {
				held++
			}
		}
		if (err == nil) != (held > 0) {
			t.Errorf("%q holds %d minutes of a week, %v", s, held, err)
		}
	})
}
