package edit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh"
)

// Limits of a file, and of the patience with those who hold or save it.
const (
	MaxFile     = 8 << 20 // bytes; a list of 100,000 hosts has 3 MB.
	defaultWait = 10 * time.Second
	tries       = 5
	pause       = 20 * time.Millisecond // between two looks at a lock that is held.
)

// ErrBusy says that others have kept the file from being edited. It may be
// tried again.
var ErrBusy = errors.New("others are editing it")

// Options say which file, and what is allowed with it.
type Options struct {
	Path string
	// Create makes a file that is missing, with the directory's owner. Without
	// it a missing file is mesh.NotFound.
	Create bool
	// DryRun merges and writes nothing, not even the lock.
	DryRun bool
	// Wait bounds the wait for the lock; zero means ten seconds.
	Wait time.Duration
}

// Merge returns what a file that holds old shall hold. It may be called several
// times with different contents, it does not change old, and merging its own
// result changes nothing. An error leaves the file alone.
type Merge func(old []byte) ([]byte, error)

// Change is what was done to a file, or would be in a dry run.
type Change struct {
	Path          string
	Changed       bool
	Before, After []byte
	Backup        string // path of the copy of Before; empty when there is none.
}

// Apply makes the file what merge says. A file that is so already is not
// touched. When others are in the way for too long, the error is mesh.Conflict
// and ErrBusy, and the file is theirs.
func Apply(ctx context.Context, o Options, merge Merge) (Change, error) {
	// A link stays a link: its target is what is edited.
	path, err := filepath.EvalSymlinks(o.Path)
	if errors.Is(err, fs.ErrNotExist) && o.Create {
		path, err = o.Path, nil
	}
	if err != nil {
		return Change{}, failed("edit "+o.Path, err)
	}
	if o.DryRun {
		old, err := load(path, o.Create)
		if err != nil {
			return Change{}, failed("read "+path, err)
		}
		return merged(path, old, merge)
	}
	unlock, err := lock(ctx, path+".lock", cmp.Or(o.Wait, defaultWait))
	if err != nil {
		return Change{}, failed("lock "+path, err)
	}
	defer unlock()
	for range tries {
		if err := ctx.Err(); err != nil {
			return Change{}, fmt.Errorf("edit %s: %w", path, err)
		}
		c, done, err := once(path, o.Create, merge)
		if err != nil || done {
			return c, err
		}
	}
	return Change{}, mesh.Errorf(mesh.Conflict, "edit %s: %w, and saved it %d times meanwhile", path, ErrBusy, tries)
}

// failed gives the errors of files that a user can do something about a code.
func failed(what string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return mesh.Errorf(mesh.NotFound, "%s: %w", what, err)
	case errors.Is(err, fs.ErrPermission):
		return mesh.Errorf(mesh.Denied, "%s: %w", what, err).WithHint("run it as the owner of the file")
	}
	return fmt.Errorf("%s: %w", what, err)
}

// content is what a file held when it was read; a missing one has no info.
type content struct {
	data []byte
	info *unix.Stat_t
}

// merged asks merge twice: what it does to its own work shows whether that was
// understood.
func merged(path string, old content, merge Merge) (Change, error) {
	c := Change{Path: path, Before: old.data}
	after, err := merge(bytes.Clone(old.data))
	if err != nil {
		return Change{}, fmt.Errorf("edit %s: %w", path, err)
	}
	again, err := merge(bytes.Clone(after))
	switch {
	case err != nil:
		return Change{}, fmt.Errorf("edit %s: what would be written cannot be read again: %w", path, err)
	case !bytes.Equal(after, again):
		return Change{}, fmt.Errorf("edit %s: what would be written means something else when it is read again", path)
	}
	c.After, c.Changed = after, !bytes.Equal(old.data, after)
	return c, nil
}

// once merges and writes the file. It reports whether that is the end of it:
// false when somebody has saved the file meanwhile.
func once(path string, create bool, merge Merge) (Change, bool, error) {
	old, err := load(path, create)
	if err != nil {
		return Change{}, false, failed("read "+path, err)
	}
	c, err := merged(path, old, merge)
	if err != nil || !c.Changed {
		return c, err == nil, err
	}
	temp := tempOf(path)
	defer func() { _ = os.Remove(temp) }() // gone already, or what was swapped out.
	if err := write(temp, c.After, owner(path, old)); err != nil {
		return Change{}, false, failed("write "+temp, err)
	}
	if c.Backup, err = backup(path, old, time.Now()); err != nil {
		return Change{}, false, failed("back up "+path, err)
	}
	done, err := swap(temp, path, old, c.After)
	if err != nil || !done {
		return Change{}, false, err
	}
	return c, true, nil
}

// tempOf is the one temporary file of a path: whoever has the lock may take
// over what a killed writer has left of it.
func tempOf(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".alps-new")
}

// load reads a regular file of bounded size.
func load(path string, create bool) (content, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) && create {
		return content{}, nil
	}
	if err != nil {
		return content{}, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return content{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return content{}, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = fmt.Errorf("it has more than %d bytes", MaxFile)
	}
	return content{data, &st}, err
}

// owner is whose the file shall be and who may read it: as before, or as its
// directory when it is new.
func owner(path string, old content) unix.Stat_t {
	if old.info != nil {
		return *old.info
	}
	st := unix.Stat_t{}
	if err := unix.Stat(filepath.Dir(path), &st); err != nil {
		st.Uid, st.Gid = uint32(os.Geteuid()), uint32(os.Getegid())
	}
	st.Mode = 0o644
	return st
}

// write makes a file, durably, and reads it again.
func write(path string, data []byte, as unix.Stat_t) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if int(as.Uid) != os.Geteuid() || int(as.Gid) != os.Getegid() {
		err = f.Chown(int(as.Uid), int(as.Gid))
	}
	// The owner comes first: to change it takes the bits of setuid away.
	if err == nil {
		err = f.Chmod(fs.FileMode(as.Mode & 0o777))
	}
	if err == nil {
		_, err = f.Write(data)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		var got content
		got, err = load(path, false)
		if err == nil && !bytes.Equal(got.data, data) {
			err = errors.New("the disk gives back something else than was written")
		}
	}
	if err != nil {
		_ = os.Remove(path) // the error that matters is in hand.
	}
	return err
}
