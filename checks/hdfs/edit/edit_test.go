package edit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"alps/checks/hdfs/edit"
	"alps/mesh"
)

// adding is a merge that adds a line once.
func adding(line string) edit.Merge {
	return func(old []byte) ([]byte, error) {
		if slices.Contains(strings.Split(string(old), "\n"), line) {
			return old, nil
		}
		return append(old, line+"\n"...), nil
	}
}

func file(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// beside lists what lies in the directory of a file, without the file.
func beside(t testing.TB, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestApply(t *testing.T) {
	path := file(t, "dn1\n")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 1234, 4321); err != nil {
			t.Fatal(err)
		}
	}
	c, err := edit.Apply(t.Context(), edit.Options{Path: path}, adding("dn2"))
	if err != nil || !c.Changed || content(t, path) != "dn1\ndn2\n" {
		t.Fatalf("got %+v, %v; the file holds %q", c, err, content(t, path))
	}
	if got := content(t, c.Backup); got != "dn1\n" {
		t.Errorf("the backup holds %q", got)
	}
	for _, p := range []string{path, c.Backup} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || info.Mode().Perm() != 0o640 || os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 4321) {
			t.Errorf("%s has mode %s, owner %d:%d", p, info.Mode(), st.Uid, st.Gid)
		}
	}
	if want := path + ", line 2:\n+ dn2"; c.Diff() != want {
		t.Errorf("got the diff %q, want %q", c.Diff(), want)
	}
	c, err = edit.Apply(t.Context(), edit.Options{Path: path}, adding("dn2"))
	if err != nil || c.Changed || c.Backup != "" || c.Diff() != "" {
		t.Errorf("again: got %+v, %v", c, err)
	}
	if got := beside(t, path); len(got) != 2 || !strings.HasSuffix(got[1], ".lock") {
		t.Errorf("beside it lie %q, want a backup and the lock", got)
	}
}

func TestBackupsAreBounded(t *testing.T) {
	path := file(t, "")
	for i := range edit.Backups + 5 {
		if _, err := edit.Apply(t.Context(), edit.Options{Path: path}, adding(fmt.Sprintf("dn%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	got := slices.DeleteFunc(beside(t, path), func(s string) bool { return strings.HasSuffix(s, ".lock") })
	if len(got) != edit.Backups || !strings.HasPrefix(got[0], "hosts.alps-000006-") {
		t.Errorf("got %q, want the newest %d", got, edit.Backups)
	}
	if want := content(t, path); !strings.HasPrefix(want, content(t, filepath.Join(filepath.Dir(path), got[len(got)-1]))) {
		t.Error("the newest backup is not what was replaced last")
	}
}

func TestRefused(t *testing.T) {
	boom := errors.New("it cannot be read")
	wild := 0
	for name, tt := range map[string]struct {
		path  func(t *testing.T) string
		merge edit.Merge
		code  mesh.Code
		text  string
	}{
		"a missing file": {func(t *testing.T) string { t.Helper(); return filepath.Join(t.TempDir(), "none") }, adding("x"), mesh.NotFound, "no such file"},
		"a directory":    {func(t *testing.T) string { t.Helper(); return t.TempDir() }, adding("x"), mesh.Internal, "not a regular file"},
		"a merge that refuses": {
			func(t *testing.T) string { t.Helper(); return file(t, "dn1\n") },
			func([]byte) ([]byte, error) { return nil, boom }, mesh.Internal, boom.Error(),
		},
		"a merge that cannot read its own": {
			func(t *testing.T) string { t.Helper(); return file(t, "dn1\n") },
			func(old []byte) ([]byte, error) {
				if bytes.HasSuffix(old, []byte("!")) {
					return nil, boom
				}
				return append(old, '!'), nil
			}, mesh.Internal, "cannot be read again",
		},
		"a merge without an end": {
			func(t *testing.T) string { t.Helper(); return file(t, "dn1\n") },
			func(old []byte) ([]byte, error) { wild++; return fmt.Appendf(old, "%d", wild), nil },
			mesh.Internal, "means something else",
		},
		"too large": {func(t *testing.T) string { t.Helper(); return file(t, strings.Repeat("x", edit.MaxFile+1)) }, adding("x"), mesh.Internal, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := tt.path(t)
			_, err := edit.Apply(t.Context(), edit.Options{Path: path}, tt.merge)
			if err == nil || mesh.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v (%s), want %q (%s)", err, mesh.CodeOf(err), tt.text, tt.code)
			}
			for _, n := range beside(t, path) {
				if strings.Contains(n, ".alps-") {
					t.Errorf("%s was left behind", n)
				}
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	path := file(t, "dn1\n")
	c, err := edit.Apply(t.Context(), edit.Options{Path: path, DryRun: true}, adding("dn2"))
	if err != nil || !c.Changed || c.Diff() == "" || content(t, path) != "dn1\n" || len(beside(t, path)) != 0 {
		t.Errorf("got %+v, %v; the file holds %q, beside it %q", c, err, content(t, path), beside(t, path))
	}
}

func TestLinkStays(t *testing.T) {
	path := file(t, "dn1\n")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := edit.Apply(t.Context(), edit.Options{Path: link}, adding("dn2")); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != path || content(t, path) != "dn1\ndn2\n" {
		t.Errorf("the link points to %q, %v; its target holds %q", to, err, content(t, path))
	}
}

func TestLockIsWaitedFor(t *testing.T) {
	path := file(t, "")
	held, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = edit.Apply(t.Context(), edit.Options{Path: path, Wait: 50 * time.Millisecond}, adding("x"))
	if mesh.CodeOf(err) != mesh.Conflict || !errors.Is(err, edit.ErrBusy) || content(t, path) != "" {
		t.Errorf("got %v, want %s", err, mesh.Conflict)
	}
	done := make(chan error, 1)
	go func() {
		_, err := edit.Apply(t.Context(), edit.Options{Path: path}, adding("x"))
		done <- err
	}()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || content(t, path) != "x\n" {
		t.Errorf("got %v, the file holds %q", err, content(t, path))
	}
}

// TestConcurrentEditors says that nobody's line is lost.
func TestConcurrentEditors(t *testing.T) {
	path := file(t, "# ours\n")
	const writers, each = 8, 6
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := edit.Apply(t.Context(), edit.Options{Path: path, Wait: time.Minute}, adding(fmt.Sprintf("dn%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := strings.Split(strings.TrimSuffix(content(t, path), "\n"), "\n")
	if slices.Sort(got); len(slices.Compact(got)) != 1+writers*each {
		t.Errorf("got %d lines, want %d", len(got), 1+writers*each)
	}
}

// TestPersonSaves says that a save of somebody who knows no lock, at whatever
// moment of ours, is merged: by rename, as most editors do.
func TestPersonSaves(t *testing.T) {
	path := file(t, "v0\n")
	saved := 0
	save := func(n int) {
		t.Helper()
		temp := path + ".person"
		err := errors.Join(os.WriteFile(temp, fmt.Appendf(nil, "v%d\n", n), 0o600), os.Rename(temp, path))
		if err != nil {
			t.Fatal(err)
		}
	}
	merge := func(old []byte) ([]byte, error) {
		// The first merges look at what a person is about to replace.
		if saved < 3 {
			saved++
			save(saved)
		}
		return adding("dn2")(old)
	}
	c, err := edit.Apply(t.Context(), edit.Options{Path: path}, merge)
	if err != nil || content(t, path) != "v3\ndn2\n" || string(c.Before) != "v3\n" {
		t.Errorf("got %+v, %v; the file holds %q", c, err, content(t, path))
	}
	saved = -1000
	_, err = edit.Apply(t.Context(), edit.Options{Path: path}, func(old []byte) ([]byte, error) {
		saved++
		save(saved)
		return adding("dn3")(old)
	})
	if mesh.CodeOf(err) != mesh.Conflict || !errors.Is(err, edit.ErrBusy) || content(t, path) != fmt.Sprintf("v%d\n", saved) {
		t.Errorf("got %v, want %s; the file holds %q, want the person's v%d", err, mesh.Conflict, content(t, path), saved)
	}
}

// TestPersonSavesMeanwhile has a person save while edits run, and looks that
// the last save is never lost.
func TestPersonSavesMeanwhile(t *testing.T) {
	path := file(t, "v0\n")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for n := range 300 {
			temp := path + ".person"
			err := errors.Join(os.WriteFile(temp, fmt.Appendf(nil, "v%d\n", n+1), 0o600), os.Rename(temp, path))
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := 0; ; i++ {
		_, err := edit.Apply(t.Context(), edit.Options{Path: path}, adding(fmt.Sprintf("dn%d", i)))
		if err != nil && mesh.CodeOf(err) != mesh.Conflict {
			t.Error(err)
			break
		}
		select {
		case <-stop:
		default:
			continue
		}
		break
	}
	wg.Wait()
	if got := content(t, path); !strings.HasPrefix(got, "v300\n") {
		t.Errorf("the file holds %q, want the last save of the person in it", got)
	}
}
