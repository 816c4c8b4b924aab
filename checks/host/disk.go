package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"alps/checks"
	"alps/mesh"
)

// disk looks for file systems that are nearly full.
type disk struct {
	tree  tree
	asker *asker
}

// room is when a file system is too full. A large one may be 95% full and have
// room for days, so what is left of it counts.
type room struct {
	warn, critical           float64 // percent used.
	large                    float64 // bytes.
	largeWarn, largeCritical float64 // bytes left.
}

func (d *disk) Run(ctx context.Context, s *checks.Settings) checks.Result {
	r := room{
		warn: s.Percent("warn"), critical: s.Percent("critical"), large: s.Size("large"),
		largeWarn: s.Size("large_warn"), largeCritical: s.Size("large_critical"),
	}
	return survey(ctx, s, d.tree, d.asker, r.look)
}

// look judges one file system. The text names thresholds, not values: those
// move.
func (r room) look(a answer, f *checks.Findings) {
	whole := a.used + a.free
	if whole == 0 {
		return
	}
	used := 100 * float64(a.used) / float64(whole)
	left := mesh.Sample{Name: "free:" + a.Point, Value: float64(a.free), Unit: "B", Max: checks.Bound(float64(a.total))}
	share := mesh.Sample{Name: "used:" + a.Point, Value: used, Unit: "%"}
	if float64(a.total) >= r.large {
		left.Warn, left.Crit = below(r.largeWarn), below(r.largeCritical)
		switch free := float64(a.free); {
		case free < r.largeCritical:
			f.Add(mesh.HealthCritical, "%s has less than %s left", a.Point, size(r.largeCritical))
		case free < r.largeWarn:
			f.Add(mesh.HealthWarning, "%s has less than %s left", a.Point, size(r.largeWarn))
		}
	} else {
		share.Warn, share.Crit = checks.Bound(r.warn), checks.Bound(r.critical)
		switch {
		case used > r.critical:
			f.Add(mesh.HealthCritical, "%s is more than %s%% full", a.Point, checks.Bound(r.critical))
		case used > r.warn:
			f.Add(mesh.HealthWarning, "%s is more than %s%% full", a.Point, checks.Bound(r.warn))
		}
	}
	f.Samples = append(f.Samples, share, left)
}

// below is the range of perfdata that alerts under a value.
func below(v float64) string {
	if s := checks.Bound(v); s != "" {
		return s + ":"
	}
	return ""
}

// inodes looks for file systems that have no room for another file.
type inodes struct {
	tree  tree
	asker *asker
}

func (i *inodes) Run(ctx context.Context, s *checks.Settings) checks.Result {
	warn, critical := s.Percent("warn"), s.Percent("critical")
	return survey(ctx, s, i.tree, i.asker, func(a answer, f *checks.Findings) {
		if a.inodes == 0 {
			return // btrfs and others make them as they are needed.
		}
		used := 100 * float64(a.inodes-a.inodesFree) / float64(a.inodes)
		f.Samples = append(f.Samples, mesh.Sample{
			Name: "used:" + a.Point, Value: used, Unit: "%", Warn: checks.Bound(warn), Crit: checks.Bound(critical),
		})
		switch {
		case used > critical:
			f.Add(mesh.HealthCritical, "%s has more than %s%% of its inodes in use", a.Point, checks.Bound(critical))
		case used > warn:
			f.Add(mesh.HealthWarning, "%s has more than %s%% of its inodes in use", a.Point, checks.Bound(warn))
		}
	})
}

// survey asks every file system and has look judge the answers. One that does
// not answer, or that cannot be read, is critical whatever it holds.
func survey(ctx context.Context, s *checks.Settings, t tree, asker *asker, look func(a answer, f *checks.Findings)) checks.Result {
	exclude := s.Words("exclude")
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	if p := badPattern(exclude); p != "" {
		return checks.Unknown("setting exclude: %q is not a pattern such as /mnt/*", p)
	}
	mounts, err := t.mounts(exclude)
	if err != nil {
		return checks.Unknown("%v", err)
	}
	var f checks.Findings
	for _, a := range asker.all(ctx, mounts) {
		switch {
		case errors.Is(a.err, errHangs) && ctx.Err() != nil:
			// Nobody has waited for it, so nothing is known of it.
			f.Add(mesh.HealthUnknown, "there was no time to ask %s", a.Point)
		case errors.Is(a.err, errHangs):
			f.Add(mesh.HealthCritical, "%s does not answer", a.Point)
		case errors.Is(a.err, fs.ErrNotExist), errors.Is(a.err, fs.ErrPermission):
			// Unmounted since, or not for our eyes.
		case a.err != nil:
			f.Add(mesh.HealthCritical, "%s: %v", a.Point, a.err)
		default:
			look(a, &f)
		}
	}
	f.Samples = append(f.Samples, mesh.Sample{Name: "hanging", Value: float64(asker.hanging())})
	return f.Result(roomy(len(mounts)))
}

// size writes a threshold as people do.
func size(v float64) string {
	for _, u := range []struct {
		unit string
		of   float64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if v >= u.of {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", v/u.of), ".0") + " " + u.unit
		}
	}
	return fmt.Sprintf("%.0f B", v)
}

func roomy(n int) string {
	if n == 1 {
		return "1 file system has room"
	}
	return fmt.Sprintf("%d file systems have room", n)
}
