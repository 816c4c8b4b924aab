package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alps/mesh"
	"alps/mesh/procfs"
)

// helperEnv makes the test binary play one of the processes under test.
const helperEnv = "ALPS_PROC_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "sleep":
		helperSleep()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		helperSleep()
	case "parent":
		helperParent()
	case "fail":
		say(os.Stdout, "first words")
		say(os.Stderr, "last words")
		os.Exit(3)
	case "owner":
		helperOwner()
	}
}

// say writes one line; its reader is a test, which sees what is missing.
func say(w io.Writer, words ...any) { _, _ = fmt.Fprintln(w, words...) }

// helperSleep says that it is up and then waits for its end, or gives up
// when a test forgot it.
func helperSleep() {
	say(os.Stdout, "up")
	time.Sleep(2 * time.Minute)
}

// helperParent leaves a child in its process group behind and ends.
func helperParent() {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), helperEnv+"=sleep")
	if err := c.Start(); err != nil {
		say(os.Stdout, err)
		os.Exit(1)
	}
	say(os.Stdout, "child", c.Process.Pid)
}

// helperOwner owns a group with two children, says their pids, and waits to
// be killed.
func helperOwner() {
	g, err := New(Options{Record: os.Args[1]})
	if err != nil {
		say(os.Stdout, err)
		os.Exit(1)
	}
	for _, name := range []string{"one", "two"} {
		p, err := g.Start(helperSpec(name, "sleep", filepath.Dir(os.Args[1])))
		if err != nil {
			say(os.Stdout, err)
			os.Exit(1)
		}
		say(os.Stdout, p.PID())
	}
	time.Sleep(2 * time.Minute)
}

func helperSpec(name, mode, dir string) Spec {
	exe, _ := os.Executable()
	return Spec{
		Name: name, Path: exe, Log: filepath.Join(dir, name+".log"),
		Env: append(os.Environ(), helperEnv+"="+mode),
	}
}

func newGroup(t *testing.T, grace time.Duration) (*Group, string) {
	t.Helper()
	dir := t.TempDir()
	g, err := New(Options{Record: filepath.Join(dir, "pids.json"), Grace: grace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	return g, dir
}

func startHelper(t *testing.T, g *Group, s Spec) *Process {
	t.Helper()
	p, err := g.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func isUp(p *Process) func() bool {
	return func() bool { return strings.Contains(Tail(p.log, 5), "up") }
}

func running(pid int) bool {
	p, err := procfs.Read(pid)
	return err == nil && !p.Ended()
}

func TestStopEndsChildrenAndRemovesRecord(t *testing.T) {
	g, dir := newGroup(t, 0)
	a := startHelper(t, g, helperSpec("a", "sleep", dir))
	b := startHelper(t, g, helperSpec("b", "sleep", dir))
	if err := a.Err(); err != nil {
		t.Errorf("Err of a running child = %v, want nil", err)
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Process{a, b} {
		if running(p.PID()) {
			t.Errorf("%s still runs after Stop", p.Name())
		}
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), "terminated") {
			t.Errorf("%s: Err = %v, want the signal", p.Name(), err)
		}
		if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s: Signal after the end = %v, want os.ErrProcessDone", p.Name(), err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pids.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("record after Stop: %v, want none", err)
	}
	if _, err := g.Start(helperSpec("c", "sleep", dir)); err == nil {
		t.Error("Start after Stop succeeded")
	}
}

func TestStopKillsAfterGrace(t *testing.T) {
	g, dir := newGroup(t, 50*time.Millisecond)
	p := startHelper(t, g, helperSpec("a", "stubborn", dir))
	eventually(t, "the helper ignores TERM", isUp(p))
	p.Stop()
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Err = %v, want killed", err)
	}
}

func TestStopWakesAFrozenChild(t *testing.T) {
	g, dir := newGroup(t, time.Minute)
	p := startHelper(t, g, helperSpec("a", "sleep", dir))
	eventually(t, "the helper is up", isUp(p))
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("Err = %v, want terminated", err)
	}
}

func TestEarlyEndIsSeenWithItsLastWords(t *testing.T) {
	g, dir := newGroup(t, 0)
	p := startHelper(t, g, helperSpec("a", "fail", dir))
	<-p.Done()
	err := p.Err()
	if err == nil {
		t.Fatal("Err = nil after the end")
	}
	for _, want := range []string{"a (pid ", "exit status 3", "first words\nlast words"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Err = %q, want it to contain %q", err, want)
		}
	}
	// The name is free again.
	startHelper(t, g, helperSpec("a", "sleep", dir))
}

func TestStartRefuses(t *testing.T) {
	g, dir := newGroup(t, 0)
	startHelper(t, g, helperSpec("a", "sleep", dir))
	missing := helperSpec("b", "sleep", dir)
	missing.Path = filepath.Join(dir, "nothing")
	for name, s := range map[string]Spec{"a name in use": helperSpec("a", "sleep", dir), "a missing program": missing} {
		if _, err := g.Start(s); err == nil {
			t.Errorf("Start with %s succeeded", name)
		}
	}
}

func TestLeftoversOfTheGroupEndWithTheLeader(t *testing.T) {
	g, dir := newGroup(t, 0)
	p := startHelper(t, g, helperSpec("a", "parent", dir))
	<-p.Done()
	_, word, found := strings.Cut(Tail(p.log, 5), "child ")
	if !found {
		t.Fatalf("the helper said %q", Tail(p.log, 5))
	}
	word, _, _ = strings.Cut(word, "\n")
	pid, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the grandchild is gone", func() bool { return !running(pid) })
}

func TestNewRefusesARecordThatIsThere(t *testing.T) {
	g, _ := newGroup(t, 0)
	_, err := New(Options{Record: g.o.Record})
	if got := mesh.CodeOf(err); got != mesh.Conflict {
		t.Errorf("New = %v (code %q), want a conflict", err, got)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("New without a record succeeded")
	}
}

// killedOwner starts an owner with two children, kills it with SIGKILL, and
// returns the record that it left and the pids of the orphans.
func killedOwner(t *testing.T) (path string, pids []int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pids.json")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.CommandContext(context.WithoutCancel(t.Context()), exe, path)
	owner.Env = append(os.Environ(), helperEnv+"=owner")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); len(pids) < 2 && lines.Scan(); {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the owner said %q", lines.Text())
		}
		pids = append(pids, pid)
	}
	if _, err := Sweep(path, time.Second); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("Sweep under a living owner = %v, want a conflict", err)
	}
	_ = owner.Process.Kill()
	_ = owner.Wait() // says that it was killed.
	for _, pid := range pids {
		if !running(pid) {
			t.Fatalf("pid %d did not survive its owner; there is nothing to sweep", pid)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	}
	return path, pids
}

func TestSweepAfterTheOwnerWasKilled(t *testing.T) {
	path, pids := killedOwner(t)
	ended, err := Sweep(path, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ended)
	if want := []string{"one", "two"}; !slices.Equal(ended, want) {
		t.Errorf("Sweep ended %v, want %v", ended, want)
	}
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("pid %d still runs", pid)
		}
	}
	if ended, err := Sweep(path, time.Second); err != nil || ended != nil {
		t.Errorf("second Sweep = %v, %v, want nothing", ended, err)
	}
}

func TestSweepLeavesStrangersAlone(t *testing.T) {
	cases := map[string]func(*entry){
		"another start time": func(e *entry) { e.Start++ },
		"another executable": func(e *entry) { e.Exe = "/bin/other" },
		"no pid":             func(e *entry) { e.PID = 0 },
		"init":               func(e *entry) { e.PID = 1 },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			path, pids := killedOwner(t)
			r, _, err := readRecord(path)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(r.Procs, func(e entry) bool { return e.PID == pids[0] })
			change(&r.Procs[i])
			if err := r.write(path); err != nil {
				t.Fatal(err)
			}
			ended, err := Sweep(path, 5*time.Second)
			if err != nil || len(ended) != 1 {
				t.Errorf("Sweep = %v, %v, want one ended", ended, err)
			}
			if !running(pids[0]) {
				t.Error("the stranger was ended")
			}
			if running(pids[1]) {
				t.Error("the process of the record still runs")
			}
		})
	}
}

func TestSweepOfAnotherBootOrNamespace(t *testing.T) {
	path, pids := killedOwner(t)
	r, _, err := readRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := r
	elsewhere.Space = "pid:[1]"
	if err := elsewhere.write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Sweep(path, time.Second); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("Sweep of another namespace = %v, want a conflict", err)
	}
	r.Boot = "another"
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	ended, err := Sweep(path, time.Second)
	if err != nil || ended != nil {
		t.Errorf("Sweep of another boot = %v, %v, want nothing ended", ended, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("record of another boot: %v, want it removed", err)
	}
	for _, pid := range pids {
		if !running(pid) {
			t.Errorf("pid %d was ended", pid)
		}
	}
}

func TestSweepOfADamagedRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pids.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Sweep(path, time.Second); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Sweep = %v, want an error that names the file", err)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("x", 100<<10) + "\nlast\n"
	cases := []struct {
		name, text string
		n          int
		want       string
	}{
		{"empty", "", 3, ""},
		{"fewer lines", "a\nb\n", 3, "a\nb"},
		{"more lines", "a\nb\nc\nd\n", 2, "c\nd"},
		{"no newline at the end", "a\nb", 1, "b"},
		{"longer than is read", long, 1, "last"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := Tail(path, c.n); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := Tail(path+".missing", 1); !strings.Contains(got, "no such file") {
		t.Errorf("tail of a missing file = %q, want the reason", got)
	}
}

// TestFreeze stops a child whose every thread must stand still on return.
func TestFreeze(t *testing.T) {
	g, dir := newGroup(t, time.Second)
	p := startHelper(t, g, helperSpec("one", "sleep", dir))
	for range 50 {
		if err := p.Freeze(); err != nil {
			t.Fatal(err)
		}
		if !frozen(p.PID()) {
			t.Fatal("a thread runs on after Freeze")
		}
		if err := p.Thaw(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the child goes on", func() bool { return !frozen(p.PID()) })
	}
	p.Kill()
	if err := p.Freeze(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Freeze() of what has ended = %v, want %v", err, os.ErrProcessDone)
	}
}
