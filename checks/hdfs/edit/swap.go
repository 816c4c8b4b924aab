package edit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh"
)

// lock takes the lock file, which stays when it is let go: one that is removed
// could be locked twice.
func lock(ctx context.Context, path string, wait time.Duration) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, mesh.Errorf(mesh.Conflict, "%w, for %s already", ErrBusy, wait))
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil // what was written is on disk.
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			_ = f.Close() // holds nothing.
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = f.Close() // holds nothing.
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// swap puts the file temp in the place of path, where old stood when it was
// read. False means that something else stands there by now, and still does.
func swap(temp, path string, old content, after []byte) (bool, error) {
	now, err := load(path, old.info == nil)
	if err != nil {
		return false, failed("read "+path, err)
	}
	if (now.info == nil) != (old.info == nil) || !bytes.Equal(now.data, old.data) {
		return false, nil
	}
	flags := uint(unix.RENAME_EXCHANGE)
	if old.info == nil {
		flags = unix.RENAME_NOREPLACE
	}
	err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, flags)
	switch {
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOENT):
		return false, nil // made, or removed, meanwhile.
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		// The file system cannot do it: the comparison above is all there is.
		err = os.Rename(temp, path)
		flags = 0
	}
	if err != nil {
		return false, failed("replace "+path, err)
	}
	if flags == unix.RENAME_EXCHANGE {
		if ok, err := replaced(temp, path, old, after); err != nil || !ok {
			return false, err
		}
	}
	return true, syncDir(filepath.Dir(path))
}

// replaced reports whether what the exchange took away is what was merged. If
// it is not, somebody has saved the file in the last moment, and gets back
// what is newest.
func replaced(temp, path string, old content, after []byte) (bool, error) {
	gone, err := load(temp, false)
	if err == nil && bytes.Equal(gone.data, old.data) {
		return true, nil
	}
	for range 2 {
		if err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE); err != nil {
			return false, fmt.Errorf("put %s back, which was saved meanwhile: %w", path, err)
		}
		if back, err := load(temp, false); err == nil && bytes.Equal(back.data, after) {
			break
		}
		// It was saved once more, and that is what the exchange took away now.
	}
	return false, nil
}

// syncDir makes a rename inside dir survive a crash.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}
