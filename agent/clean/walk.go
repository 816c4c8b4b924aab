package clean

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh"
)

// Limits of a walk. A tree beyond them is none of logs.
const (
	maxDepth   = 64
	maxEntries = 1 << 20
)

// ident tells a file from every other that is there at the same time.
type ident struct {
	major, minor uint32
	inode        uint64
}

// info is what the kernel says of a file.
type info struct {
	ident

	mount uint64 // zero where the kernel does not say.
	mode  uint16
	links uint32
	size  uint64
	bytes int64 // what it takes of the disk.
	wrote time.Time
}

func (i *info) is(mode uint16) bool { return i.mode&unix.S_IFMT == mode }

// near reports whether i lies on the file system of o, and not behind a mount.
func (i *info) near(o *info) bool {
	return i.major == o.major && i.minor == o.minor && i.mount == o.mount
}

// look asks the kernel for a name in the directory dir; with no name, for dir
// itself. A symbolic link is not followed.
func look(dir int, name string) (info, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return statx(dir, name, flags)
}

func statx(dir int, name string, flags int) (info, error) {
	var s unix.Statx_t
	err := unix.Statx(dir, name, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &s)
	if err != nil {
		return info{}, err
	}
	i := info{
		ident: ident{s.Dev_major, s.Dev_minor, s.Ino}, mode: s.Mode, links: s.Nlink, size: s.Size,
		bytes: int64(s.Blocks) * 512, wrote: time.Unix(s.Mtime.Sec, int64(s.Mtime.Nsec)),
	}
	if s.Mask&unix.STATX_MNT_ID != 0 {
		i.mount = s.Mnt_id
	}
	return i, nil
}

// openDir opens a directory by its name in another, never by a symbolic link.
func openDir(at int, name string) (int, error) {
	for {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// found is a file that some pattern fits.
type found struct {
	info

	dir      string // below the directory of the rule; empty for that itself.
	name     string
	at       ident // of dir.
	patterns []int
}

func (f *found) path() string { return path.Join(f.dir, f.name) }

// walk looks at everything below the directory of a rule. It removes nothing.
type walk struct {
	rule  *Rule
	top   info
	seen  int
	files []found
	left  map[Why]int
}

// descend looks at one directory, whose handle it closes.
func (w *walk) descend(ctx context.Context, fd int, dir string, depth int) error {
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close() //nolint:errcheck // it was only read.
	here, err := look(fd, "")
	if err != nil {
		return fmt.Errorf("look at the directory %q: %w", dir, err)
	}
	if !here.near(&w.top) {
		w.left[OtherFS]++
		return nil
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if err := w.entry(ctx, place{fd, dir, here.ident, depth}, name); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			w.left[Unreadable]++
			return nil
		}
	}
}

// place is the directory that the walk is in.
type place struct {
	fd    int
	dir   string
	ident ident
	depth int
}

func (w *walk) entry(ctx context.Context, p place, name string) error {
	if w.seen++; w.seen > maxEntries {
		return mesh.Errorf(mesh.Invalid, "%s holds more than %d names", w.rule.Dir, maxEntries).WithHint("name a directory below it")
	}
	i, err := look(p.fd, name)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) {
			w.left[Unreadable]++
		}
		return nil
	}
	if i.is(unix.S_IFDIR) {
		return w.below(ctx, p, name, &i)
	}
	patterns := w.rule.matches(name)
	switch {
	case len(patterns) == 0:
	case !i.is(unix.S_IFREG):
		w.left[NoFile]++
	case !i.near(&w.top):
		w.left[OtherFS]++
	default:
		w.files = append(w.files, found{info: i, dir: p.dir, name: name, at: p.ident, patterns: patterns})
	}
	return nil
}

func (w *walk) below(ctx context.Context, p place, name string, i *info) error {
	switch {
	case !i.near(&w.top):
		w.left[OtherFS]++
		return nil
	case p.depth >= maxDepth:
		w.left[Unreadable]++
		return nil
	}
	fd, err := openDir(p.fd, name)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) {
			w.left[Unreadable]++
		}
		return nil
	}
	return w.descend(ctx, fd, path.Join(p.dir, name), p.depth+1)
}
