package job

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"alps/mesh"
)

// TestPlanAnyList runs plans over lists of any length to their end.
func TestPlanAnyList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "nodes")
		q := Request{
			Canary: rapid.IntRange(0, 5).Draw(t, "canary"),
			Batch:  rapid.SampledFrom([]string{"", "1", "7", "10%", "100%"}).Draw(t, "batch"), MaxFail: rapid.SampledFrom([]string{"", "0", "3", "20%"}).Draw(t, "max fail"),
		}
		p, err := q.plan(n)
		if err != nil {
			t.Fatalf("plan: %v", err)
		}
		targets := make([]Target, n)
		for i := range targets {
			targets[i] = Target{Index: i, Listed: true, State: mesh.Pending}
		}
		p.assign(targets, func(t Target) string { return fmt.Sprint(t.Index % 3) })
		sizes := make([]int, p.Waves(n))
		for _, x := range targets {
			if x.Wave < 0 || x.Wave >= len(sizes) {
				t.Fatalf("wave %d of %d", x.Wave, len(sizes))
			}
			sizes[x.Wave]++
		}
		if slices.Min(sizes) < 1 || p.Canary > 0 && sizes[0] != p.Canary || slices.Max(sizes) > max(p.Batch, p.Canary) {
			t.Fatalf("waves of %v nodes with %+v", sizes, p)
		}

		// Nodes of open waves end one by one; nothing else may move.
		open, failed, stopped := 0, 0, ""
		for stopped == "" {
			ready := slices.DeleteFunc(slices.Clone(targets), func(x Target) bool { return x.Wave > open || x.State.Ended() })
			if len(ready) == 0 {
				break
			}
			x := rapid.SampledFrom(ready).Draw(t, "node")
			x.State = rapid.SampledFrom([]mesh.State{mesh.OK, mesh.OK, mesh.OK, mesh.Failed, mesh.Expired, mesh.Cancelled}).Draw(t, "end")
			targets[x.Index] = x
			if x.State == mesh.Failed || x.State == mesh.Expired {
				failed++
			}
			s := p.advance(slices.Values(targets), open)
			busy := slices.ContainsFunc(targets, func(x Target) bool { return x.Wave <= open && !x.State.Ended() })
			switch {
			case s.open != open && (s.open != open+1 || busy):
				t.Fatalf("from wave %d to %d, busy %v", open, s.open, busy)
			case s.stop != "" && (p.MaxFail < 0 || failed <= p.MaxFail):
				t.Fatalf("stopped at %d failures with %+v: %s", failed, p, s.stop)
			case s.stop == "" && p.MaxFail >= 0 && failed > p.MaxFail && open < len(sizes)-1:
				t.Fatalf("goes on at %d failures with %+v", failed, p)
			}
			open, stopped = s.open, s.stop
		}
		all := !slices.ContainsFunc(targets, func(x Target) bool { return !x.State.Ended() })
		if stopped == "" && !all {
			t.Fatalf("nothing moves at wave %d of %v", open, sizes)
		}
	})
}

func TestShare(t *testing.T) {
	tests := []struct {
		s    string
		n    int
		want int
		bad  bool
	}{
		{"3", 10, 3, false},
		{"0", 10, 0, false},
		{"25%", 10, 3, false},
		{"1%", 10, 1, false},
		{"0%", 10, 0, false},
		{"100%", 10, 10, false},
		{"101%", 10, 0, true},
		{"-1", 10, 0, true},
		{"", 10, 0, true},
		{"%", 10, 0, true},
	}
	for _, tt := range tests {
		got, err := share("batch", tt.s, tt.n)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("share(%q, %d) = %d, %v, want %d, error %v", tt.s, tt.n, got, err, tt.want, tt.bad)
		}
	}
}
