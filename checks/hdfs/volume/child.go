package volume

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a child.
const (
	blockSize = 4096
	lifetime  = 60 * time.Second // after which it ends by itself.
	staleAge  = time.Hour        // of files that a killed child has left.
	leftover  = ".alps-probe-"
	maxReport = 4096
)

// report is what a child says on its standard output, as one line of JSON.
type report struct {
	Real string `json:"real,omitempty"` // the directory without symbolic links.
	Step string `json:"step,omitempty"` // what failed; "" when nothing has.
	Text string `json:"text,omitempty"`
	// Full says that there was no room; Denied that the user may not.
	Full    bool    `json:"full,omitempty"`
	Denied  bool    `json:"denied,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Child does what is done to a directory: it looks whether it is one of a
// DataNode, writes a block to its disk, reads it back and removes it. It says
// what it found on out, and ends the process by itself when that takes too long.
func Child(dir string, out io.Writer) error {
	guard := time.AfterFunc(lifetime, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	defer guard.Stop()
	r := examine(dir)
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = out.Write(append(b, '\n'))
	return err
}

func examine(dir string) report {
	r := report{Real: dir}
	start := time.Now()
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		r.Real = resolved
	}
	step, err := exercise(r.Real)
	r.Seconds = time.Since(start).Seconds()
	if err != nil {
		r.Step, r.Text = step, reason(err)
		r.Full = errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
		r.Denied = errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0
	}
	return r
}

// reason is what the kernel says, without the name of the file, which is
// another each time.
func reason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return err.Error()
}

// exercise returns what failed, and how.
func exercise(dir string) (step string, err error) {
	for _, d := range []struct{ step, path string }{{"the directory", dir}, {`its part "current"`, filepath.Join(dir, "current")}} {
		st, err := os.Stat(d.path)
		if err != nil {
			return d.step, err
		}
		if !st.IsDir() {
			return d.step, errors.New("it is not a directory")
		}
	}
	sweep(dir)
	name := filepath.Join(dir, leftover+rand.Text())
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return "create a file", err
	}
	defer os.Remove(name) //nolint:errcheck // on the way out; the good way removes and looks.
	defer f.Close()
	want := make([]byte, blockSize)
	_, _ = rand.Read(want) // it never fails.
	if _, err := f.Write(want); err != nil {
		return "write", err
	}
	if err := f.Sync(); err != nil {
		return "fsync", err
	}
	// What is in memory says nothing of the disk.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	got := make([]byte, blockSize)
	if _, err := f.ReadAt(got, 0); err != nil {
		return "read", err
	}
	if !bytes.Equal(got, want) {
		return "read", errors.New("it gives back other bytes than were written")
	}
	if err := os.Remove(name); err != nil {
		return "remove a file", err
	}
	return "", nil
}

// sweep removes what children have left that were killed long ago.
func sweep(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	entries, _ := d.ReadDir(1000) // a DataNode keeps two entries here.
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), leftover) && info.Mode().IsRegular() && time.Since(info.ModTime()) > staleAge {
			_ = os.Remove(filepath.Join(dir, e.Name())) // the next child tries again.
		}
	}
}

// parseReport reads what a child said.
func parseReport(out []byte) (report, error) {
	var r report
	if err := json.Unmarshal(bytes.TrimSpace(out), &r); err != nil {
		return r, fmt.Errorf("its child said nothing of use: %w", err)
	}
	return r, nil
}
