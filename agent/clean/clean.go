package clean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh"
)

// Options say what to do. Rule and Now are required.
type Options struct {
	Rule Rule
	// DryRun looks and decides the same, and removes nothing.
	DryRun bool
	// Now tells how old a file is; its location tells where today begins.
	Now time.Time
	// Proc is where the processes are read; empty means /proc.
	Proc string
}

// Why says why a file that a pattern fits was left, or what was not looked at.
type Why string

// The reasons, in the order in which they are asked.
const (
	NoFile     Why = "no regular file" // a symbolic link, a socket.
	OtherFS    Why = "another file system"
	Unreadable Why = "not readable"
	Linked     Why = "another name elsewhere" // removing one frees nothing.
	Today      Why = "written today"
	Young      Why = "not old enough"
	Kept       Why = "among the newest"
	Enough     Why = "enough is free"
	Open       Why = "open"
	Unsure     Why = "perhaps open"
	Changed    Why = "changed meanwhile"
)

// File is one that was removed, or would be.
type File struct {
	Path  string    `json:"path"` // below Report.Dir.
	Bytes int64     `json:"bytes"`
	Wrote time.Time `json:"wrote"`
}

// Failure is a file that could not be removed.
type Failure struct {
	Path string `json:"path"`
	Err  string `json:"error"`
}

// Report is what was done.
type Report struct {
	Dir    string      `json:"dir"` // as the kernel names it.
	DryRun bool        `json:"dry_run,omitempty"`
	Files  []File      `json:"files"` // the oldest first.
	Failed []Failure   `json:"failed,omitempty"`
	Left   map[Why]int `json:"left,omitempty"`
	// Freed is what the files took of the disk. Before and After are what the
	// file system had free, to which others add and from which they take.
	Freed  int64 `json:"freed"`
	Before int64 `json:"free_before"`
	After  int64 `json:"free_after"`
	// Reached is false when Rule.Free was not.
	Reached bool `json:"reached"`
}

// Run removes what the rule says. The error is about a rule that makes no
// sense, a directory that cannot be read, or ctx; what was removed until ctx
// ended is in the report then.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Rule.validate(); err != nil {
		return nil, err
	}
	fd, err := unix.Open(o.Rule.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "open the directory %s: %w", o.Rule.Dir, err)
	}
	defer unix.Close(fd) //nolint:errcheck // it was only read.
	place, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, fmt.Errorf("ask for the true path of %s: %w", o.Rule.Dir, err)
	}
	if err := checkPlace(place); err != nil {
		return nil, err
	}
	top, err := look(fd, "")
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", place, err)
	}
	w := &walk{rule: &o.Rule, top: top, left: map[Why]int{}}
	again, err := openDir(fd, ".")
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the directory %s: %w", place, err)
	}
	if err := w.descend(ctx, again, "", 0); err != nil {
		return nil, err
	}
	r := &remover{o: &o, fd: fd, top: &top, report: &Report{Dir: place, DryRun: o.DryRun, Left: w.left, Files: []File{}}}
	return r.report, r.run(ctx, w.files)
}

// candidates are the files that the rule says may go, the oldest first. What
// it says must stay is counted in left.
func candidates(o *Options, files []found, left map[Why]int) []found {
	keep := newest(files, &o.Rule)
	y, m, d := o.Now.Date()
	today := time.Date(y, m, d, 0, 0, 0, 0, o.Now.Location())
	old := o.Now.Add(-time.Duration(o.Rule.Days) * 24 * time.Hour)
	var out []found
	for i, f := range files {
		switch {
		case f.links != 1:
			left[Linked]++
		case !f.wrote.Before(today):
			left[Today]++
		case f.wrote.After(old):
			left[Young]++
		case keep[i]:
			left[Kept]++
		default:
			out = append(out, f)
		}
	}
	slices.SortFunc(out, older)
	return out
}

func older(a, b found) int {
	return cmp.Or(a.wrote.Compare(b.wrote), strings.Compare(a.path(), b.path()))
}

// newest marks the files that are kept for some pattern.
func newest(files []found, r *Rule) map[int]bool {
	keep := make(map[int]bool)
	for p := range r.Match {
		var of []int
		for i := range files {
			if slices.Contains(files[i].patterns, p) {
				of = append(of, i)
			}
		}
		slices.SortFunc(of, func(a, b int) int { return older(files[b], files[a]) })
		for _, i := range of[:min(len(of), r.Keep)] {
			keep[i] = true
		}
	}
	return keep
}

// remover takes the candidates one by one.
type remover struct {
	o      *Options
	fd     int // of the rule's directory.
	top    *info
	users  *users
	report *Report

	dir   string // the directory that was opened last, with its handle.
	dirFD int
}

func (r *remover) run(ctx context.Context, files []found) error {
	before, need, err := r.space()
	if err != nil {
		return err
	}
	r.report.Before, r.report.After, r.report.Reached = before, before, true
	list := candidates(r.o, files, r.report.Left)
	if len(list) > 0 {
		proc := cmp.Or(r.o.Proc, "/proc")
		if r.users, err = scan(proc); err != nil {
			return err
		}
	}
	limited := r.o.Rule.Free != Free{}
	r.dirFD = -1
	defer r.closeDir()
	for i := range list {
		if limited && r.report.Freed >= need {
			r.report.Left[Enough] += len(list) - i
			break
		}
		if err = ctx.Err(); err != nil {
			break
		}
		r.take(&list[i])
	}
	r.report.Reached = !limited || r.report.Freed >= need
	after, _, spaceErr := r.space()
	if spaceErr == nil {
		r.report.After = after
	}
	return errors.Join(err, spaceErr)
}

// space returns what is free, and how much is to be freed.
func (r *remover) space() (free, need int64, err error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(r.fd, &s); err != nil {
		return 0, 0, fmt.Errorf("ask how much of %s is free: %w", r.report.Dir, err)
	}
	free = int64(s.Bfree) * s.Bsize
	if p := r.o.Rule.Free.Percent; p > 0 {
		// Of what is not the superuser's own, as everybody counts it.
		usable := int64(s.Blocks-s.Bfree+s.Bavail) * s.Bsize
		return free, int64(p/100*float64(usable)) - int64(s.Bavail)*s.Bsize, nil
	}
	return free, r.o.Rule.Free.Bytes, nil
}

// take removes one file, or says why not.
func (r *remover) take(f *found) {
	why, err := r.remove(f)
	switch {
	case err != nil:
		r.report.Failed = append(r.report.Failed, Failure{f.path(), err.Error()})
	case why != "":
		r.report.Left[why]++
	default:
		r.report.Files = append(r.report.Files, File{f.path(), f.bytes, f.wrote})
		r.report.Freed += f.bytes
	}
}

func (r *remover) remove(f *found) (Why, error) {
	if r.users.have(f, filepath.Join(r.report.Dir, f.path())) {
		return Open, nil
	}
	dir, err := r.enter(f)
	if errors.Is(err, errMoved) || errors.Is(err, unix.ENOENT) {
		return Changed, nil
	}
	if err != nil {
		return "", err
	}
	if why, err := r.unused(dir, f); why != "" || err != nil {
		return why, err
	}
	if r.o.DryRun {
		return "", nil
	}
	err = unix.Unlinkat(dir, f.name, 0)
	if errors.Is(err, unix.ENOENT) {
		return Changed, nil
	}
	return "", err
}

// unused looks at a file once more: that it is the one that was found, and
// that nobody has it open.
func (r *remover) unused(dir int, f *found) (Why, error) {
	fd, err := unix.Openat(dir, f.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP):
		return Changed, nil
	case errors.Is(err, unix.EACCES) && r.users.whole:
		fd = -1 // not ours to read, perhaps ours to remove.
	case err != nil:
		return "", err
	}
	alone, known := false, false
	if fd >= 0 {
		defer unix.Close(fd) //nolint:errcheck // it was only read.
		alone, known = leased(fd)
		if now, err := look(fd, ""); err != nil || !same(f, &now) {
			return Changed, err
		}
	}
	if now, err := look(dir, f.name); err != nil || !same(f, &now) {
		return Changed, nil
	}
	switch {
	case known && !alone:
		return Open, nil
	case !known && !r.users.whole:
		return Unsure, nil
	}
	return "", nil
}

func same(f *found, now *info) bool {
	return now.ident == f.ident && now.mount == f.mount && now.is(unix.S_IFREG) && now.links == 1 &&
		now.size == f.size && now.wrote.Equal(f.wrote)
}

var errMoved = errors.New("the directory is another one now")

// enter opens the directory of a file again, step by step from the rule's own.
func (r *remover) enter(f *found) (int, error) {
	if r.dirFD >= 0 && r.dir == f.dir {
		return r.dirFD, nil
	}
	r.closeDir()
	fd, err := openDir(r.fd, ".")
	for step := range strings.SplitSeq(f.dir, "/") {
		if err != nil || step == "" {
			break
		}
		var next int
		next, err = openDir(fd, step)
		_ = unix.Close(fd)
		fd = next
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return -1, errMoved
	}
	if err != nil {
		return -1, err
	}
	if now, err := look(fd, ""); err != nil || now.ident != f.at || !now.near(r.top) {
		_ = unix.Close(fd)
		return -1, errMoved
	}
	r.dir, r.dirFD = f.dir, fd
	return fd, nil
}

func (r *remover) closeDir() {
	if r.dirFD >= 0 {
		_ = unix.Close(r.dirFD)
	}
	r.dirFD = -1
}
