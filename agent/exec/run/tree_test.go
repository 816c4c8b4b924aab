package run

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/procfs"
)

// modes runs a test with and without cgroups: a job must end in the same way.
func modes(t *testing.T, test func(t *testing.T, r *Runner)) {
	t.Helper()
	t.Run("marks only", func(t *testing.T) { test(t, newRunner(t, Options{NoCgroup: true})) })
	t.Run("cgroup", func(t *testing.T) {
		r := newRunner(t, Options{})
		if !r.Cgroups() {
			t.Skip("no cgroup v2 hierarchy that we may write to")
		}
		test(t, r)
		if left, _ := os.ReadDir(r.cgroups.base); hasMarkOf(left, t) {
			t.Errorf("a leaf was left in %s", r.cgroups.base)
		}
	})
}

func hasMarkOf(entries []os.DirEntry, t *testing.T) bool {
	t.Helper()
	for _, e := range entries {
		if e.Name() == markOf(t) {
			return true
		}
	}
	return false
}

// runs reports whether any process carries the mark of the test's task.
func stillRuns(t *testing.T) bool {
	t.Helper()
	m, err := (&tree{mark: markPrefix + markOf(t)}).members()
	if err != nil {
		t.Fatal(err)
	}
	return len(m) > 0
}

func TestCancelStopsTheTree(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{
			name: "forks", script: "sleep 3600 & sleep 3600 & (sleep 3600 & echo ready; wait) & wait",
			want: "an operator cancelled it; 5 processes were stopped",
		},
		{
			name: "daemon in a session of its own", script: "sleep 3600 & setsid sh -c 'sleep 3600 & echo ready; wait' & wait",
			want: "an operator cancelled it; 4 processes were stopped",
		},
		{
			name: "stopped processes", script: "sleep 3600 & kill -STOP $!; echo ready; wait",
			want: "an operator cancelled it; 2 processes were stopped",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			modes(t, func(t *testing.T, r *Runner) {
				res := cancelWhenReady(t, r, task(t, tt.script))
				if res.State != mesh.Cancelled || res.Reason != tt.want {
					t.Errorf("got %s %q, want CANCELLED %q", res.State, res.Reason, tt.want)
				}
				if stillRuns(t) {
					t.Error("something still runs")
				}
			})
		})
	}
}

// cancelWhenReady cancels a task once it has written its first line.
func cancelWhenReady(t *testing.T, r *Runner, tk Task) Result {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for ctx.Err() == nil {
			if b, _ := os.ReadFile(filepath.Join(r.o.Dir, tk.dirName(), "stdout")); len(b) > 0 {
				cancel(ErrCancelled)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	defer cancel(nil)
	return r.Run(ctx, tk)
}

func TestHelpersAreStopped(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, role, want string }{
		{"zombie below it", "zombie", "an operator cancelled it; 1 process was stopped"},
		{"ignores TERM", "stubborn", "an operator cancelled it; 2 processes were stopped, 2 of them by KILL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			modes(t, func(t *testing.T, r *Runner) {
				tk := task(t, "")
				tk.Script, tk.Command = nil, []string{self}
				tk.Env = map[string]string{helperVar: tt.role}
				tk.Grace = 300 * time.Millisecond
				res := cancelWhenReady(t, r, tk)
				if res.State != mesh.Cancelled || res.Reason != tt.want {
					t.Errorf("got %s %q, want CANCELLED %q", res.State, res.Reason, tt.want)
				}
			})
		})
	}
}

func TestBackgroundProcessesEndWithTheJob(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"left behind", "sleep 3600 & sleep 3600 & echo done", "2 processes were left running in the background and stopped"},
		{
			"daemon that holds the output", "setsid sleep 3600 & echo done",
			"1 process was left running in the background and stopped",
		},
		{"filter at the end of a pipe", "(sleep 0.3; echo done) &", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			modes(t, func(t *testing.T, r *Runner) {
				res := r.Run(t.Context(), task(t, tt.script))
				if res.State != mesh.OK || res.Reason != tt.want || string(res.Stdout.Kept) != "done\n" {
					t.Errorf("got %s %q %q, want OK %q", res.State, res.Reason, res.Stdout.Kept, tt.want)
				}
				if stillRuns(t) {
					t.Error("something still runs")
				}
			})
		})
	}
}

// A daemon that has cleared its environment and left its session and parents
// is beyond all but a cgroup.
func TestCgroupHoldsWhatHides(t *testing.T) {
	r := newRunner(t, Options{})
	if !r.Cgroups() {
		t.Skip("no cgroup v2 hierarchy that we may write to")
	}
	res := r.Run(t.Context(), task(t, "(setsid env -i sleep 3600 &) ; exit 0"))
	if want := "1 process was left running in the background and stopped"; res.Reason != want {
		t.Errorf("got %q, want %q", res.Reason, want)
	}
}

func TestProcessOfAnotherJobIsLeftAlone(t *testing.T) {
	modes(t, func(t *testing.T, r *Runner) {
		other := exec.Command("/bin/sleep", "3600")
		other.Env = []string{"ALPS_JOB=" + NewMark(mesh.NewJobID(), 1)}
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = other.Process.Kill()
			_ = other.Wait()
		}()
		if res := r.Run(t.Context(), task(t, "sleep 3600 & exit 0")); res.State != mesh.OK {
			t.Errorf("got %s %s", res.State, res.Reason)
		}
		if err := other.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("a process of another job is gone: %v", err)
		}
		if p, err := procfs.Read(other.Process.Pid); err != nil || p.Ended() {
			t.Errorf("a process of another job was stopped: %v %v", p, err)
		}
	})
}

func TestStopLeft(t *testing.T) {
	modes(t, func(t *testing.T, r *Runner) {
		mark := markOf(t)
		cmd := exec.Command("/bin/sh", "-c", "setsid sleep 3600 & sleep 3600")
		cmd.Env = []string{markPrefix + mark}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		l := r.cgroups.leaf(mark)
		if l != nil {
			if err := l.add(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			if m, err := (&tree{mark: markPrefix + mark}).members(); err == nil && len(m) == 3 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the tree did not come up")
			}
			time.Sleep(5 * time.Millisecond)
		}
		s := r.StopLeft(mark, 5*time.Second)
		if diff := cmp.Diff(Stopped{Count: 3}, s); diff != "" {
			t.Errorf("stopped (-want +got):\n%s", diff)
		}
		<-done
		if again := r.StopLeft(mark, time.Second); again.Count != 0 || !again.Proven() {
			t.Errorf("a second time: got %+v", again)
		}
	})
}

func TestForkBombIsBounded(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to run as another user, whose processes are counted")
	}
	dir := openDir(t)
	for _, noCgroup := range []bool{true, false} {
		t.Run("no cgroup "+strconv.FormatBool(noCgroup), func(t *testing.T) {
			r := newRunner(t, Options{Dir: filepath.Join(dir, "work"), RunAs: []string{"nobody"}, Limits: Limits{Procs: 40 + processesOf(t, "nobody")}, NoCgroup: noCgroup})
			// 200 tries at most, whatever the limit does.
			tk := task(t, "sleep 0.1; i=0; while [ $i -lt 200 ]; do i=$((i+1)); sleep 3600 & done; wait")
			tk.RunAs, tk.Timeout, tk.Grace = "nobody", 2*time.Second, time.Second
			res := r.Run(t.Context(), tk)
			if stillRuns(t) {
				t.Error("something still runs")
			}
			if n := strings.Count(res.Reason, "stopped"); res.State != mesh.Timeout && res.State != mesh.Failed && n == 0 {
				t.Errorf("got %s %q", res.State, res.Reason)
			}
			m := leadingNumber(res.Reason)
			if m == 0 || m > 41 {
				t.Errorf("got %d processes (%s %q, %s), want some and at most 41", m, res.State, res.Reason, res.Stderr.Kept)
			}
		})
	}
}

// openDir is a directory that other users may enter, those above it included.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// processesOf counts all processes of a user, those too that ended and that
// their parent has not noticed yet: the kernel counts them as well.
func processesOf(t *testing.T, name string) uint64 {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	all, err := procfs.List(0)
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	for _, p := range all {
		info, err := os.Stat("/proc/" + strconv.Itoa(p.PID))
		if err != nil {
			continue
		}
		if st := info.Sys().(*syscall.Stat_t); strconv.Itoa(int(st.Uid)) == u.Uid {
			n++
		}
	}
	return n
}

func leadingNumber(s string) int {
	for f := range strings.FieldsSeq(s) {
		if n, err := strconv.Atoi(f); err == nil {
			return n
		}
	}
	return 0
}

func TestOwnGroups(t *testing.T) {
	for _, tt := range []struct {
		name, mounts, own string
		want              []string
	}{
		{
			"unified", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
			"0::/system.slice/alps.service\n",
			[]string{"/sys/fs/cgroup/system.slice/alps.service"},
		},
		{
			"hybrid", "42 32 0:39 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n31 32 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
			"9:pids:/a\n0::/\n",
			[]string{"/sys/fs/cgroup/unified"},
		},
		{"part of it", "1 2 0:1 /docker/x /sys/fs/c\\040g rw - cgroup2 none rw\n", "0::/docker/x/y\n", []string{"/sys/fs/c g/y"}},
		{"only version 1", "31 32 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n", "9:pids:/a\n", nil},
		{"rubbish", "\n x - cgroup2 \n", "0::/\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ownGroups(tt.mounts, tt.own)); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		})
	}
}

// A process that waits for a device cannot be made for a test: what is said
// of it is looked at by itself.
func TestNothingIsClaimedWithoutProof(t *testing.T) {
	left := Stopped{Count: 2, Killed: 2, Left: []string{"7 (dd, waits for a device)"}}
	done := Stopped{Count: 2}
	for _, tt := range []struct {
		name   string
		set    func(r *Result)
		state  mesh.State
		reason string
	}{
		{
			"cancelled", func(r *Result) { r.stoppedBy(ErrCancelled, left, &Task{}) },
			mesh.Unknown, "an operator cancelled it, and processes are left that cannot be stopped: 7 (dd, waits for a device)",
		},
		{
			"timeout", func(r *Result) { r.stoppedBy(context.DeadlineExceeded, left, &Task{Timeout: time.Minute}) },
			mesh.Unknown, "it ran longer than 1m0s, and processes are left that cannot be stopped: 7 (dd, waits for a device)",
		},
		{
			"timeout with proof", func(r *Result) { r.stoppedBy(context.DeadlineExceeded, done, &Task{Timeout: time.Minute}) },
			mesh.Timeout, "it ran longer than 1m0s; 2 processes were stopped",
		},
		{
			"ended, with something left", func(r *Result) { r.exit(0, left) },
			mesh.OK, "processes are left that cannot be stopped: 7 (dd, waits for a device)",
		},
		{
			"killed, with something stopped", func(r *Result) { r.exit(syscall.WaitStatus(syscall.SIGTERM), done) },
			mesh.Signaled, "2 processes were left running in the background and stopped",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Result
			tt.set(&r)
			if r.State != tt.state || r.Reason != tt.reason {
				t.Errorf("got %s %q, want %s %q", r.State, r.Reason, tt.state, tt.reason)
			}
		})
	}
}
