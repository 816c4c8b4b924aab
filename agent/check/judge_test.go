package check

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"alps/mesh"
)

func TestJudge(t *testing.T) {
	const p, w, c, u = mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical, mesh.HealthUnknown
	tests := map[string]struct {
		attempts int
		results  []mesh.Health
		hard     mesh.Health
		attempt  int
	}{
		"first good result":                  {3, []mesh.Health{p}, p, 1},
		"first bad result is soft":           {3, []mesh.Health{c}, "", 1},
		"one attempt is hard at once":        {1, []mesh.Health{p, c}, c, 1},
		"no attempts count as one":           {0, []mesh.Health{p, c}, c, 1},
		"soft problem":                       {3, []mesh.Health{p, c, c}, p, 2},
		"hard problem":                       {3, []mesh.Health{p, c, c, c}, c, 3},
		"problems of different kinds add up": {3, []mesh.Health{p, w, u, c}, c, 3},
		"another problem when hard":          {3, []mesh.Health{p, c, c, c, w}, w, 3},
		"recovery is hard at once":           {3, []mesh.Health{p, c, c, c, p}, p, 1},
		"a soft problem that goes":           {3, []mesh.Health{p, c, c, p, c}, p, 1},
		"unknown is no recovery":             {3, []mesh.Health{p, c, c, c, u, u}, u, 3},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var s standing
			for i, h := range tc.results {
				s = s.judge(h, tc.attempts, time.Unix(int64(i), 0))
			}
			if s.hard != tc.hard || s.attempt != tc.attempt {
				t.Errorf("hard %q attempt %d, want %q %d", s.hard, s.attempt, tc.hard, tc.attempt)
			}
		})
	}
}

func TestHardSinceIsWhenItBegan(t *testing.T) {
	var s standing
	for i, h := range []mesh.Health{"passing", "critical", "critical", "critical"} {
		s = s.judge(h, 2, time.Unix(int64(i), 0))
	}
	if want := time.Unix(2, 0); !s.hardSince.Equal(want) {
		t.Errorf("hard since %v, want %v", s.hardSince, want)
	}
}

// TestJudgeProperties holds any row of results against what is promised.
func TestJudgeProperties(t *testing.T) {
	healths := []mesh.Health{mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical, mesh.HealthUnknown}
	rapid.Check(t, func(t *rapid.T) {
		attempts := rapid.IntRange(1, 6).Draw(t, "attempts")
		results := rapid.SliceOfN(rapid.SampledFrom(healths), 1, 80).Draw(t, "results")
		var s standing
		bad := 0 // results in a row that are not passing.
		for i, h := range results {
			was := s
			s = s.judge(h, attempts, time.Unix(int64(i), 0))
			if bad++; h == mesh.HealthPassing {
				bad = 0
			}
			switch {
			case s.raw != h:
				t.Fatalf("raw is %q after %q", s.raw, h)
			case h == mesh.HealthPassing && s.hard != h:
				t.Fatalf("a good result left it hard %q", s.hard)
			case h != mesh.HealthPassing && bad >= attempts && s.hard != h:
				t.Fatalf("%d bad results of %d left it hard %q", bad, attempts, s.hard)
			case h != mesh.HealthPassing && bad < attempts && s.hard != was.hard:
				t.Fatalf("%d bad results of %d made it hard %q", bad, attempts, s.hard)
			case s.hard == mesh.HealthPassing && was.hard != mesh.HealthPassing && h != mesh.HealthPassing:
				t.Fatal("it recovered without a good result")
			case s.attempt < 1 || s.attempt > attempts || s.attempt != max(1, min(bad, attempts)):
				t.Fatalf("attempt %d after %d bad results of %d", s.attempt, bad, attempts)
			case s.hard != was.hard && !s.hardSince.Equal(time.Unix(int64(i), 0)), s.hard == was.hard && !s.hardSince.Equal(was.hardSince):
				t.Fatal("hardSince moved without the hard status, or the other way round")
			}
			share := flapShare(s.changes)
			if share < 0 || share > 1 || s.flapping && share < flapLow || !s.flapping && share >= flapHigh {
				t.Fatalf("flapping %v at a share of %v", s.flapping, share)
			}
		}
	})
}

func TestFlapping(t *testing.T) {
	tests := map[string]struct {
		results string // one letter a result: p and c.
		want    bool
	}{
		"steady":                    {"pppppppppppppppppppppppppp", false},
		"failed twice":              {"pppppppcpppppppcpppppppppp", false},
		"every result is a change":  {"pcpcpcpcpcpcpcpcpcpcpc", true},
		"begins at half of them":    {"ppppppppppppppppppppppcpcpcpcpcp", true},
		"goes on for a while":       {"pcpcpcpcpcpcpcpcpcpcpcpppppppp", true},
		"ends when it is calm":      {"pcpcpcpcpcpcpcpcpcpcpcpppppppppppppppppp", false},
		"a change long ago is gone": {"pc" + "pppppppppppppppppppppppppp", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var s standing
			for i, r := range tc.results {
				h := mesh.HealthPassing
				if r == 'c' {
					h = mesh.HealthCritical
				}
				s = s.judge(h, 1, time.Unix(int64(i), 0))
			}
			if s.flapping != tc.want {
				t.Errorf("flapping %v at a share of %.2f, want %v", s.flapping, flapShare(s.changes), tc.want)
			}
		})
	}
	if got := flapShare(1<<flapWindow - 1); got < 0.999 || got > 1.001 {
		t.Errorf("share when every result is a change = %v, want 1", got)
	}
}
