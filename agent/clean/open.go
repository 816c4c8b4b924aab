package clean

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// users is what the processes of this machine have open.
type users struct {
	files map[ident]bool
	paths map[string]bool
	whole bool // every process could be looked at.
}

// scan looks at every process once.
func scan(proc string) (*users, error) {
	dir, err := os.Open(proc)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	u := &users{files: map[ident]bool{}, paths: map[string]bool{}, whole: true}
	seen := 0
	for _, name := range names {
		if _, err := strconv.Atoi(name); err == nil {
			u.add(filepath.Join(proc, name, "fd"))
			seen++
		}
	}
	if seen == 0 {
		return nil, fmt.Errorf("list the processes: there is none in %s", proc)
	}
	return u, nil
}

// add looks at the files of one process. One that has ended has none.
func (u *users) add(dir string) {
	d, err := os.Open(dir)
	var fds []string
	if err == nil {
		fds, err = d.Readdirnames(-1)
		_ = d.Close()
	}
	if err != nil {
		u.whole = u.whole && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH))
		return
	}
	for _, fd := range fds {
		at := dir + "/" + fd
		to, err := os.Readlink(at)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
			continue // closed meanwhile.
		case err != nil:
			u.whole = false
			continue
		case !strings.HasPrefix(to, "/"):
			continue // a socket, a pipe.
		}
		u.paths[to] = true
		// The path is one of the process, which may have another root: the file
		// itself says more. A file system that does not answer is not asked.
		if i, err := statx(unix.AT_FDCWD, at, unix.AT_STATX_DONT_SYNC); err == nil {
			u.files[i.ident] = true
		}
	}
}

func (u *users) have(f *found, path string) bool { return u.files[f.ident] || u.paths[path] }

// leased asks the kernel for a lease of the open file, which it gives for what
// nobody else has open. known is false where it does not say.
func leased(fd int) (alone, known bool) {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
	switch {
	case err == nil:
		return true, true
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EBUSY):
		return false, true
	}
	return false, false
}
