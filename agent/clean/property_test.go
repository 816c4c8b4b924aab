package clean

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// what a file of the random tree is.
const (
	plain = iota
	held  // open.
	linked
	outward // a symbolic link to a file outside.
	kinds
)

// TestNothingOutsideTheRule makes trees at random and holds what is gone
// against the rule in other words: all of what may go, and nothing else,
// neither inside nor outside.
func TestNothingOutsideTheRule(t *testing.T) {
	root, trees := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		trees++
		base := filepath.Join(root, strconv.Itoa(trees))
		dir, outside := base+"/in", base+"/out"
		r := Rule{
			Dir: dir, Match: []string{"*.log", "old-*"}[:rapid.IntRange(1, 2).Draw(rt, "patterns")],
			Days: rapid.IntRange(0, 6).Draw(rt, "days"), Keep: rapid.IntRange(0, 3).Draw(rt, "keep"),
		}
		write(t, outside+"/target.log", 10, 9)
		write(t, outside+"/d/below.log", 10, 9)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			rt.Fatal(err)
		}
		if err := os.Symlink(outside, dir+"/out"); err != nil {
			rt.Fatal(err)
		}
		type file struct {
			kind int
			days float64
		}
		files := map[string]file{}
		var open []*os.File
		defer func() {
			for _, f := range open {
				_ = f.Close()
			}
		}()
		for i := range rapid.IntRange(0, 25).Draw(rt, "files") {
			name := rapid.SampledFrom([]string{"", "a/", "a/b/", "c/"}).Draw(rt, "dir") +
				fmt.Sprintf(rapid.SampledFrom([]string{"%d.log", "old-%d", "old-%d.log", "%d.data", "%d.log.gz"}).Draw(rt, "name"), i)
			// Each its own minute, so that nobody is as old as another.
			f := file{rapid.IntRange(0, kinds-1).Draw(rt, "kind"), float64(rapid.IntRange(-1, 8).Draw(rt, "days")) + float64(i)/1440}
			path := filepath.Join(dir, name)
			if f.kind == outward {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					rt.Fatal(err)
				}
				if err := os.Symlink(outside+"/target.log", path); err != nil {
					rt.Fatal(err)
				}
				files[name] = f
				continue
			}
			write(t, path, 10, f.days)
			switch f.kind {
			case linked:
				if err := os.Link(path, fmt.Sprintf("%s/%d.log", outside, i)); err != nil {
					rt.Fatal(err)
				}
			case held:
				h, err := os.Open(path)
				if err != nil {
					rt.Fatal(err)
				}
				open = append(open, h)
			}
			files[name] = f
		}
		want := map[string]bool{}
		for name, f := range files {
			fits, kept := false, false
			for _, p := range r.Match {
				if !fitting(p, name) {
					continue
				}
				fits = true
				newer := 0
				for other, o := range files {
					if o.kind != outward && fitting(p, other) && o.days < f.days {
						newer++
					}
				}
				kept = kept || newer < r.Keep
			}
			// Noon is half a day behind midnight.
			if fits && !kept && f.kind == plain && f.days > 0.5 && f.days >= float64(r.Days) {
				want[name] = true
			}
		}
		before := append(tree(t, dir), tree(t, outside)...)
		got := clean(t, Options{Rule: r})
		if d := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(slices.Values(paths(got)))); d != "" {
			rt.Fatalf("removed (-want +got):\n%s", d)
		}
		after := append(tree(t, dir), tree(t, outside)...)
		for _, p := range before {
			if gone := !slices.Contains(after, p); gone && (len(p) == 0 || !want[p[1:]]) {
				rt.Fatalf("%s is gone", p)
			}
		}
		if len(before)-len(after) != len(want) {
			rt.Fatalf("%d are gone, want %d", len(before)-len(after), len(want))
		}
	})
}

// fitting is what the two patterns mean, said without patterns.
func fitting(pattern, path string) bool {
	name := filepath.Base(path)
	if pattern == "*.log" {
		return len(name) >= 4 && name[len(name)-4:] == ".log"
	}
	return len(name) >= 4 && name[:4] == "old-"
}
