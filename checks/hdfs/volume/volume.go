package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/procfs"
)

// Options say where and how to look.
type Options struct {
	// Root is the directory that holds proc, sys and dev; empty means "/".
	Root string
	// Child is the command that calls Child for the directory which is its last
	// argument.
	Child []string
}

// Prober looks at directories. Its methods may be called from any goroutine.
type Prober struct {
	root     string
	child    []string
	smartctl string
	spawn    spawner
	cache    smartCache
}

// New makes a Prober. It looks at nothing yet.
func New(o Options) (*Prober, error) {
	if len(o.Child) == 0 {
		return nil, errors.New("make a prober of volumes: it needs a command for its child")
	}
	v := &Prober{root: cmp.Or(o.Root, "/"), child: o.Child}
	if v.root == "/" { // what a test made up is no disk.
		v.smartctl = findSmartctl()
	}
	return v, nil
}

func (v *Prober) path(elem ...string) string {
	return filepath.Join(append([]string{v.root}, elem...)...)
}

// Query says what is asked of the directories.
type Query struct {
	Dirs []string // absolute and clean.
	// Timeout is after how long a directory is said to hang.
	Timeout time.Duration
	// Own demands that no directory lies on the file system of /.
	Own bool
	// Sources are the devices that are expected, by directory, as the mount
	// table names them.
	Sources map[string]string
}

// Report is what was found in one directory.
type Report struct {
	Dir      string
	Device   string // of the kernel: "sdb1"; "" when it is no block device.
	Disk     string // as Disks names it, when the directory has failed.
	Problems []Problem
	Seconds  float64 // that the write took; zero when it did not come so far.
}

// Problem is one thing that is wrong, in words that do not change by
// themselves.
type Problem struct {
	Health mesh.Health
	Text   string
	// Kernel says that the kernel's log is the source, Disk that the disk
	// itself is; neither: it was seen by trying.
	Kernel bool
	Disk   bool
}

// Failed reports whether the directory is of no use as it is.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Health == mesh.HealthCritical })
}

// maxAtOnce is how many directories are written to at a time.
const maxAtOnce = 8

// Look looks at every directory, and returns what it found in their order. It
// takes at most about the timeout for each eight of them.
func (v *Prober) Look(ctx context.Context, q Query) []Report {
	mounts, err := os.ReadFile(v.path("proc/self/mountinfo"))
	log := v.kernelLog()
	reports := make([]Report, len(q.Dirs))
	slots := make(chan struct{}, maxAtOnce)
	var wg sync.WaitGroup
	for i, dir := range q.Dirs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r := v.one(ctx, q, dir, string(mounts), log)
			if r.Failed() {
				r.Disk = v.disk(ctx, string(mounts), dir)
			}
			reports[i] = r
		})
	}
	wg.Wait()
	if err != nil {
		for i := range reports {
			reports[i].add(mesh.HealthUnknown, "the mounts cannot be read")
		}
	}
	return reports
}

// Hanging is how many children have not ended.
func (v *Prober) Hanging() int { return v.spawn.hanging() }

func (r *Report) add(h mesh.Health, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Health: h, Text: fmt.Sprintf(format, args...)})
}

func (v *Prober) one(ctx context.Context, q Query, dir, mounts string, log []record) Report {
	r := Report{Dir: dir}
	place := v.try(ctx, q.Timeout, &r)
	m, ok := procfs.MountOf(mounts, place)
	if !ok {
		return r
	}
	r.mounted(q, m)
	d := v.deviceOf(m.Device)
	r.Device = d.Name
	if n, first := v.ext4Errors(d); n > 0 {
		since := ""
		if !first.IsZero() {
			since = " since " + first.Format(time.DateTime)
		}
		r.add(mesh.HealthWarning, "ext4 has counted errors%s", since)
	}
	for _, text := range complaints(log, d) {
		r.Problems = append(r.Problems, Problem{Health: mesh.HealthWarning, Text: "the kernel has logged " + text, Kernel: true})
	}
	switch h := v.smart(ctx, d.Disk); {
	case h.Failing:
		r.Problems = append(r.Problems, Problem{Health: mesh.HealthCritical, Text: "SMART says that the disk fails", Disk: true})
	case len(h.Counts) > 0:
		r.Problems = append(r.Problems, Problem{Health: mesh.HealthWarning, Text: h.String(), Disk: true})
	}
	return r
}

// try has a child write to the directory. It returns the directory without
// symbolic links, as far as they could be followed.
func (v *Prober) try(ctx context.Context, timeout time.Duration, r *Report) string {
	tctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := v.spawn.output(tctx, r.Dir, append(slices.Clone(v.child), r.Dir))
	switch {
	case errors.Is(err, errHangs) && ctx.Err() != nil:
		r.add(mesh.HealthUnknown, "there was no time to write to it")
		return r.Dir
	case errors.Is(err, errHangs):
		r.add(mesh.HealthCritical, "it hangs")
		return r.Dir
	case err != nil:
		r.add(mesh.HealthUnknown, "it could not be tried: %v", err)
		return r.Dir
	}
	said, err := parseReport(out)
	switch {
	case err != nil:
		r.add(mesh.HealthUnknown, "it could not be tried: %v", err)
		return r.Dir
	case said.Full:
		r.add(mesh.HealthWarning, "it is full")
	case said.Denied:
		r.add(mesh.HealthUnknown, "%s: %s; the agent must run as root or as the DataNode's user", said.Step, said.Text)
	case said.Step != "":
		r.add(mesh.HealthCritical, "%s: %s", said.Step, said.Text)
	default:
		r.Seconds = said.Seconds
	}
	return cmp.Or(said.Real, r.Dir)
}

// mounted judges the mount that a directory lies on.
func (r *Report) mounted(q Query, m procfs.Mount) {
	for _, bad := range []struct {
		options []string
		option  string
		text    string
	}{
		{m.Super, "emergency_ro", "its file system has gone read-only after an error"},
		{m.Super, "shutdown", "its file system has shut down"},
		{m.Super, "ro", "its file system is read-only"},
		{m.Options, "ro", "it is mounted read-only"},
	} {
		if slices.Contains(bad.options, bad.option) {
			r.add(mesh.HealthCritical, "%s", bad.text)
			break
		}
	}
	switch want := q.Sources[r.Dir]; {
	case want != "" && want != m.Source:
		r.add(mesh.HealthCritical, "it is on %s, not on %s: its disk is not mounted", m.Source, want)
	case q.Own && m.Point == "/":
		r.add(mesh.HealthCritical, "it is on the file system of /: its disk is not mounted")
	}
}
