package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/config"
)

// TestDev is the life of `alps dev` as a user sees it: it comes up and says
// what to try, a second one keeps away, a process that ends is told of, what
// a killed run left is cleaned up, and Ctrl-C ends all of it and nothing
// else.
func TestDev(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	dir := filepath.Join(t.TempDir(), "dev")
	// A bystander in the user's own session, that happens to speak of the same
	// directory.
	bystander := exec.CommandContext(t.Context(), "sh", "-c", "sleep 600 & wait", dir)
	bystander.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	bystanders := []int{bystander.Process.Pid}
	t.Cleanup(func() {
		_ = syscall.Kill(-bystander.Process.Pid, syscall.SIGKILL) // gone if the test has found so.
		_ = bystander.Wait()
	})

	first := startDev(t, dir)
	first.awaitUp(t)
	for _, line := range tour() {
		if !strings.Contains(first.stdout.String(), "\n  "+line+"\n") {
			t.Errorf("dev does not suggest %q:\n%s", line, &first.stdout)
		}
	}
	if !strings.Contains(first.stdout.String(), "\n  . "+filepath.Join(dir, "env")+"\n") {
		t.Errorf("dev does not say what to source:\n%s", &first.stdout)
	}
	five := "5 of 5 OK"
	if got := inEnv(t, dir, "alps exec -t all -- true"); !strings.Contains(got, five) {
		t.Errorf("the cluster does not work: %s", got)
	}

	t.Run("a second one keeps away", func(t *testing.T) {
		second := startDev(t, dir)
		if code := second.wait(t); code == exitOK {
			t.Error("it exits with 0")
		}
		want := fmt.Sprintf("pid %d, which still runs", first.cmd.Process.Pid)
		if got := second.stderr.String(); !strings.Contains(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
		if got := inEnv(t, dir, "alps exec -t all -- true"); !strings.Contains(got, five) {
			t.Errorf("the first is harmed: %s", got)
		}
	})

	t.Run("a process that ends is told of", func(t *testing.T) {
		victim := slices.IndexFunc(processes(t, dir), func(p process) bool {
			return strings.Contains(p.args, filepath.Join("agent", "bj-e-hadoop01-13-220"))
		})
		if victim < 0 {
			t.Fatal("the agent does not run")
		}
		if err := syscall.Kill(processes(t, dir)[victim].pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "dev tells of the agent that ended", func() bool {
			return strings.Contains(first.stderr.String(), "the agent of bj-e-hadoop01-13-220 ended")
		})
		if got := inEnv(t, dir, "alps exec -t role=admin -- true"); !strings.Contains(got, "2 of 2 OK") {
			t.Errorf("the rest does not go on: %s", got)
		}
	})

	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.wait(t)
	orphans := startedBy(t, dir, bystanders)
	// Of Consul, the server, the demo service, the agents but the one that was killed.
	if want := 5 + 1 + 3 + 4; len(orphans) != want {
		t.Fatalf("a killed dev leaves %d processes behind, want %d: %v", len(orphans), want, orphans)
	}

	again := startDev(t, dir)
	again.awaitUp(t)
	if got := again.stderr.String(); !strings.Contains(got, fmt.Sprintf("cleaned up %d processes of an earlier run", len(orphans))) {
		t.Errorf("the next run says %q, want that it cleaned up %d processes", got, len(orphans))
	}
	for _, p := range startedBy(t, dir, bystanders) {
		if slices.Contains(orphans, p) {
			t.Errorf("%v of the killed run still runs", p)
		}
	}
	if got := inEnv(t, dir, "alps exec -t all -- true"); !strings.Contains(got, five) {
		t.Errorf("the new cluster does not work: %s", got)
	}

	if err := again.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := again.wait(t); code != exitOK {
		t.Errorf("dev exits with %d after Ctrl-C, want %d: %s", code, exitOK, &again.stderr)
	}
	if left := startedBy(t, dir, bystanders); len(left) > 0 {
		t.Errorf("still running after Ctrl-C: %v", left)
	}
	if err := syscall.Kill(bystander.Process.Pid, 0); err != nil {
		t.Errorf("the bystander was ended: %v", err)
	}
}

// TestDevRefuses covers what keeps a cluster from coming up: each is one
// error with a hint, found early, and nothing is left running.
func TestDevRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	fake := filepath.Join(t.TempDir(), "consul")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho Consul v1.9.17\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		code    int
		says    string
		try     string
		prepare func(t *testing.T, dir string) (args []string)
	}{
		"consul missing": {
			exitNothing, "use /nonexistent/consul: ", "make consul",
			func(*testing.T, string) []string { return []string{"--consul", "/nonexistent/consul"} },
		},
		"consul too old": {
			exitNothing, "it is Consul 1.9.17, wanted is 1.15.0 or later", "make consul",
			func(*testing.T, string) []string { return []string{"--consul", fake} },
		},
		"a directory of somebody else": {
			exitFailed, "is not empty and was not made by alps dev", "a new or empty directory",
			func(t *testing.T, dir string) []string {
				t.Helper()
				if err := os.MkdirAll(filepath.Join(dir, "precious"), 0o700); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
						t.Errorf("what lay there is gone: %v", err)
					}
				})
				return nil
			},
		},
		"a subnet that is not loopback": {
			exitUsage, `subnet "10.1.1" is not the first three numbers of a loopback address`, "127.20.7",
			func(*testing.T, string) []string { return []string{"--subnet", "10.1.1"} },
		},
		"a subnet of another cluster": {
			exitFailed, "another cluster of this user has it", "another subnet",
			func(t *testing.T, _ string) []string {
				t.Helper()
				return []string{"--subnet", sharedCluster(t).Consul().Subnet()}
			},
		},
		"a port that Consul needs is taken": {
			exitFailed, ":8500 is taken by ", "another subnet",
			func(t *testing.T, _ string) []string {
				t.Helper()
				return []string{"--subnet", occupied(t, 8500)}
			},
		},
		"a port that the server needs is taken": {
			exitFailed, ":8780 (api.listen): ", "ss -ltnp",
			func(t *testing.T, _ string) []string {
				t.Helper()
				return []string{"--subnet", occupied(t, 8780)}
			},
		},
		"a disk that is full": {
			exitUnavailable, "MiB free; a cluster needs ", "make room",
			func(t *testing.T, dir string) []string {
				t.Helper()
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
					t.Skipf("a small file system cannot be mounted here: %v", err)
				}
				t.Cleanup(func() {
					if err := syscall.Unmount(dir, 0); err != nil {
						t.Error(err)
					}
				})
				return nil
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dev")
			r := startDev(t, dir, tt.prepare(t, dir)...)
			r.refused(t, tt.code, tt.says, tt.try)
		})
	}

	t.Run("too few open files", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dev")
		r := startCommand(t, dir, exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 256; exec alps dev --subnet '' --dir "$0"`, dir))
		r.refused(t, exitUnavailable, "the limit of open files is 256", "ulimit -Hn")
	})
}

// devRun is one run of `alps dev`.
type devRun struct {
	cmd            *exec.Cmd
	dir            string
	stdout, stderr lockedBuffer
	done           chan struct{} // closed when it has ended.
}

// startDev starts `alps dev` in dir, on a free subnet unless args say
// otherwise.
func startDev(t *testing.T, dir string, args ...string) *devRun {
	t.Helper()
	args = append([]string{"dev", "--dir", dir, "--subnet", ""}, args...)
	return startCommand(t, dir, exec.CommandContext(context.WithoutCancel(t.Context()), "alps", args...))
}

// startCommand ends the command with the test, and what it has started.
func startCommand(t *testing.T, dir string, cmd *exec.Cmd) *devRun {
	t.Helper()
	r := &devRun{cmd: cmd, dir: dir, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // the code is in ProcessState.
		close(r.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // fails if it has ended.
		select {
		case <-r.done:
		case <-time.After(30 * time.Second):
			t.Errorf("dev does not end after an interrupt:\n%s", &r.stderr)
			_ = cmd.Process.Kill()
		}
	})
	return r
}

// awaitUp returns when dev has said all that it says when the cluster is up.
func (r *devRun) awaitUp(t *testing.T) {
	t.Helper()
	eventually(t, "the cluster is up", func() bool {
		select {
		case <-r.done:
			t.Fatalf("dev ended: %v\n%s", r.cmd.ProcessState, &r.stderr)
		default:
		}
		return strings.HasSuffix(r.stdout.String(), "Ctrl-C stops everything.\n")
	})
}

// wait returns the exit code, -1 for a signal.
func (r *devRun) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(time.Minute):
		t.Fatalf("dev does not end:\n%s", &r.stderr)
	}
	return r.cmd.ProcessState.ExitCode()
}

// refused waits for the end of a dev that cannot come up.
func (r *devRun) refused(t *testing.T, code int, says, try string) {
	t.Helper()
	if got := r.wait(t); got != code {
		t.Errorf("dev exits with %d, want %d", got, code)
	}
	text := r.stderr.String()
	_, message, _ := strings.Cut(text, "\nalps: ")
	if strings.HasPrefix(text, "alps: ") {
		message = text
	}
	message, hint, _ := strings.Cut(message, "\n  try: ")
	if !strings.Contains(message, says) || !strings.Contains(hint, try) {
		t.Errorf("dev says %q, want %q and to try %q", text, says, try)
	}
	if n := strings.Count(text, "\n  try: "); n != 1 {
		t.Errorf("dev gives %d hints, want 1: %q", n, text)
	}
	if got := r.stdout.String(); got != "" {
		t.Errorf("dev prints %q though it is not up", got)
	}
	if left := processes(t, r.dir); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// inEnv runs a line in a shell that has read the env file, and returns all
// that it printed.
func inEnv(t *testing.T, dir, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", ". '"+filepath.Join(dir, "env")+"' && "+line).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return string(out)
}

// occupied is a subnet on whose first address somebody listens.
func occupied(t *testing.T, port int) string {
	t.Helper()
	for range 50 {
		// Beside the range that clusters pick from by themselves.
		subnet := fmt.Sprintf("127.%d.%d", 251+rand.IntN(4), rand.IntN(256))
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("%s.1:%d", subnet, port))
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		return subnet
	}
	t.Fatal("no free subnet was found")
	return ""
}

// process is what /proc says of one that runs.
type process struct {
	pid  int
	args string
}

func (p process) String() string { return fmt.Sprintf("%d %s", p.pid, p.args) }

// processes lists those whose arguments speak of dir, in the order of their
// ids.
func processes(t *testing.T, dir string) []process {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var all []process
	for _, d := range dirs {
		b, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || !bytes.Contains(b, []byte(dir)) {
			continue // a zombie has no arguments.
		}
		if err != nil {
			t.Fatal(err)
		}
		p := process{args: string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))}
		if _, err := fmt.Sscan(filepath.Base(d), &p.pid); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b process) int { return a.pid - b.pid })
	return all
}

// startedBy lists what a dev in dir has started: Consul and alps, not dev
// itself, nor others that happen to speak of the directory.
func startedBy(t *testing.T, dir string, except []int) []process {
	t.Helper()
	return slices.DeleteFunc(processes(t, dir), func(p process) bool {
		return slices.Contains(except, p.pid) || strings.Contains(p.args, " dev --dir ")
	})
}

// TestDevPolicyIsTheOneThatShips holds the plan of alps dev --hdfs to the one
// that people copy.
func TestDevPolicyIsTheOneThatShips(t *testing.T) {
	demo, err := config.ParseRules("demo.hcl", []byte(strings.Replace(demoRules+hdfsRules, "HOOK", "http://127.0.0.1:1/", 1)))
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := config.LoadRules("../../deploy/policies")
	if err != nil {
		t.Fatal(err)
	}
	const name = "hdfs-disk-decommission"
	plan := func(list []mesh.Policy) []mesh.Rung {
		at := slices.IndexFunc(list, func(p mesh.Policy) bool { return p.Name == name })
		if at < 0 {
			t.Fatalf("there is no policy %s", name)
		}
		return list[at].Rungs
	}
	if diff := cmp.Diff(plan(shipped.Policies), plan(demo.Policies)); diff != "" {
		t.Errorf("the plan (-shipped +demo):\n%s", diff)
	}
}
