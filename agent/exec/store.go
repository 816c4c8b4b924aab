package exec

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"alps/mesh"
)

// How much disk the two stores may take.
const (
	maxBlobs   = 256 << 20
	maxOutputs = 512 << 20
)

// store is a directory of files named by the SHA-256 of what they hold. Its
// methods may be called from any goroutine.
type store struct {
	dir  string
	most int64 // bytes, after a sweep.
}

// put keeps b under its digest. What is there already is as good as new again.
func (s store) put(b []byte) error {
	path := filepath.Join(s.dir, mesh.Digest(b))
	now := time.Now()
	if os.Chtimes(path, now, now) == nil {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("keep %d bytes: %w", len(b), err)
	}
	f, err := os.CreateTemp(s.dir, "new-")
	if err != nil {
		return fmt.Errorf("keep %d bytes: %w", len(b), err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep %d bytes: %w", len(b), err), os.Remove(f.Name()))
	}
	return nil
}

// open opens what has the digest.
func (s store) open(digest string) (io.ReadCloser, error) {
	if !isDigest(digest) {
		return nil, mesh.Errorf(mesh.Invalid, "%q is not a SHA-256 digest", digest)
	}
	f, err := os.Open(filepath.Join(s.dir, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mesh.Errorf(mesh.NotFound, "nothing with the digest %s is kept on this node", digest)
	}
	if err != nil {
		return nil, fmt.Errorf("open kept bytes: %w", err)
	}
	return f, nil
}

// get returns what has the digest, and only if it still has.
func (s store) get(digest string) ([]byte, bool) {
	f, err := s.open(digest)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mesh.MaxScript+1))
	return b, err == nil && mesh.Digest(b) == digest
}

// sweep removes what was last put before the given time, and the oldest of
// the rest until it fits.
func (s store) sweep(before time.Time) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep %s: %w", s.dir, err)
	}
	var files []fs.FileInfo
	var sum int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files, sum = append(files, info), sum+info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return cmp.Compare(a.ModTime().UnixNano(), b.ModTime().UnixNano()) })
	var errs []error
	for _, f := range files {
		if !f.ModTime().Before(before) && sum <= s.most {
			break
		}
		sum -= f.Size()
		if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
			errs = append(errs, fmt.Errorf("sweep %s: %w", s.dir, err))
		}
	}
	return errors.Join(errs...)
}

func isDigest(s string) bool {
	return len(s) == 64 && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}
