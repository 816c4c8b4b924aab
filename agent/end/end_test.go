package end

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"alps/mesh"
	"alps/mesh/procfs"
)

// patience is how long a process may take that is meant to end.
const patience = time.Minute

// victim is a process that a test has started.
type victim struct {
	*exec.Cmd

	line string // its command line.
	done chan error
}

// start runs a shell script under a name that no other process has, and
// returns when it has said that it runs.
func start(t *testing.T, script string) *victim {
	t.Helper()
	word := "victim-" + mesh.RandomHex(8)
	v := &victim{Cmd: exec.CommandContext(t.Context(), "/bin/sh", "-c", script+"; echo runs; read -r _", word, "a b"), done: make(chan error, 1)}
	in, err := v.StdinPipe() // which keeps it, without a child that looks like it.
	if err != nil {
		t.Fatal(err)
	}
	out, err := v.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	if text, err := bufio.NewReader(out).ReadString('\n'); err != nil || text != "runs\n" {
		t.Fatalf("the process says %q, %v", text, err)
	}
	reaped := make(chan struct{})
	go func() { v.done <- v.Wait(); close(reaped) }()
	t.Cleanup(func() {
		_, _ = v.Process.Kill(), in.Close() // it may have ended.
		<-reaped
	})
	v.line = "/bin/sh -c * " + word + " a b"
	return v
}

func (v *victim) runs() bool {
	p, err := procfs.Read(v.Process.Pid)
	return err == nil && !p.Ended()
}

// me is the user of this test.
func me() string { return strconv.Itoa(os.Geteuid()) }

func pidFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func options(o Options) Options {
	o.Grace, o.Within = patience, patience
	return o
}

func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		script string
		by     func(t *testing.T, v *victim) Options
		grace  time.Duration
		signal string
		ended  syscall.Signal
	}{
		"by its command line": {
			by:     func(_ *testing.T, v *victim) Options { return Options{Command: v.line, User: me()} },
			signal: "SIGTERM", ended: syscall.SIGTERM,
		},
		"by its pid file": {
			by: func(t *testing.T, v *victim) Options {
				return Options{PIDFile: pidFile(t, strconv.Itoa(v.Process.Pid)+"\n")}
			},
			signal: "SIGTERM", ended: syscall.SIGTERM,
		},
		"by all of it": {
			by: func(t *testing.T, v *victim) Options {
				return Options{PIDFile: pidFile(t, strconv.Itoa(v.Process.Pid)), Command: v.line, User: me()}
			},
			signal: "SIGTERM", ended: syscall.SIGTERM,
		},
		"with a child all the time": {
			script: "echo runs; while :; do sleep 0.2; done",
			by:     func(_ *testing.T, v *victim) Options { return Options{Command: v.line, User: me()} },
			signal: "SIGTERM", ended: syscall.SIGTERM,
		},
		"deaf": {
			script: "trap '' TERM", grace: 100 * time.Millisecond,
			by:     func(_ *testing.T, v *victim) Options { return Options{Command: v.line, User: me()} },
			signal: "SIGKILL", ended: syscall.SIGKILL,
		},
		"stopped": {
			script: "kill -STOP $$", grace: 100 * time.Millisecond,
			by:     func(_ *testing.T, v *victim) Options { return Options{Command: v.line, User: me()} },
			signal: "SIGKILL", ended: syscall.SIGKILL,
		},
	} {
		t.Run(name, func(t *testing.T) {
			script := "true"
			stopped := strings.HasPrefix(tt.script, "kill -STOP")
			if tt.script != "" && !stopped {
				script = tt.script
			}
			v := start(t, script)
			if stopped {
				if err := v.Process.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			other := start(t, "true")
			o := options(tt.by(t, v))
			if tt.grace > 0 {
				o.Grace = tt.grace
			}
			o.DryRun = true
			dry, err := Run(t.Context(), o)
			if err != nil || dry.PID != v.Process.Pid || dry.Gone || dry.Signal != "" || !v.runs() {
				t.Fatalf("dry: %+v, %v; it runs: %v", dry, err, v.runs())
			}
			o.DryRun = false
			got, err := Run(t.Context(), o)
			if err != nil || !got.Gone || got.PID != v.Process.Pid || got.Signal != tt.signal || !strings.HasPrefix(got.Command, "/bin/sh -c ") {
				t.Fatalf("got %+v, %v; want %s", got, err, tt.signal)
			}
			if d := time.Since(got.Started); d < -clockSlack || d > time.Hour {
				t.Errorf("it began at %s", got.Started)
			}
			exit, ok := errors.AsType[*exec.ExitError](<-v.done)
			if !ok || exit.Sys().(syscall.WaitStatus).Signal() != tt.ended { //nolint:forcetypeassert // that of Unix.
				t.Errorf("it ended by %v, want %s", exit, tt.ended)
			}
			if !other.runs() {
				t.Error("another process was ended")
			}
			again, err := Run(t.Context(), o)
			if err != nil || !again.Gone || again.PID != 0 {
				t.Errorf("the second run: %+v, %v", again, err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	v := start(t, "true")
	pid := strconv.Itoa(v.Process.Pid)
	old := pidFile(t, pid)
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, before, before); err != nil {
		t.Fatal(err)
	}
	self, err := commandLine(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	twin := exec.CommandContext(t.Context(), "/bin/sh", v.Args[1:]...)
	kept, err := twin.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := twin.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = twin.Process.Kill(), kept.Close(), twin.Wait() })
	same := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestStands$")
	same.Env = append(os.Environ(), "ALPS_TEST_STANDS=1")
	stays, err := same.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := same.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stays.Close(); _ = same.Wait() })
	for name, tt := range map[string]struct {
		o    Options
		want string
	}{
		"nothing":          {Options{}, "nothing names the process"},
		"no user":          {Options{Command: v.line}, "may be anybody's"},
		"a relative file":  {Options{PIDFile: "web.pid"}, "not an absolute path"},
		"an unknown user":  {Options{Command: v.line, User: "nobody-knows"}, "there is no user"},
		"a wide pattern":   {Options{Command: "* -*", User: me()}, "not a pattern"},
		"two of them":      {Options{Command: v.line, User: me()}, "2 processes fit"},
		"process 1":        {Options{PIDFile: pidFile(t, "1")}, "it is process 1"},
		"this program":     {Options{PIDFile: pidFile(t, strconv.Itoa(os.Getpid()))}, "it is this program"},
		"what started it":  {Options{PIDFile: pidFile(t, strconv.Itoa(os.Getppid()))}, "it is this program, or has started it"},
		"the same program": {Options{PIDFile: pidFile(t, strconv.Itoa(same.Process.Pid))}, "it is this program as well"},
		"another's number": {Options{PIDFile: old}, "it is another one"},
		"another line":     {Options{PIDFile: pidFile(t, pid), Command: "java *"}, "another command line"},
		"another user":     {Options{PIDFile: pidFile(t, pid), User: strconv.Itoa(os.Geteuid() + 1)}, "is not of that user"},
		"no number":        {Options{PIDFile: pidFile(t, "web")}, "no number of a process"},
		"a negative":       {Options{PIDFile: pidFile(t, "-"+pid)}, "no number of a process"},
		"a long file":      {Options{PIDFile: pidFile(t, pid+strings.Repeat(" ", 100))}, "no number of a process"},
		"a directory":      {Options{PIDFile: t.TempDir()}, "no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Run(t.Context(), options(tt.o))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v; want %q", got, err, tt.want)
			}
		})
	}
	if !v.runs() {
		t.Error("the process was ended all the same")
	}
	// The pattern also stands in the command line of whoever looks for it.
	if got, err := Run(t.Context(), options(Options{Command: self, User: me()})); err != nil || got.PID != 0 {
		t.Errorf("it finds itself: %+v, %v", got, err)
	}
	for name, o := range map[string]Options{
		"no file": {PIDFile: filepath.Join(t.TempDir(), "none")},
		"no such": {Command: "no such process *", User: me()},
	} {
		if got, err := Run(t.Context(), options(o)); err != nil || !got.Gone || got.PID != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestStands is a process of this program that stays until its input ends.
func TestStands(t *testing.T) {
	if os.Getenv("ALPS_TEST_STANDS") == "" {
		t.Skip("another test starts it")
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// TestKernelThread needs a machine that shows its own threads.
func TestKernelThread(t *testing.T) {
	all, err := procfs.List(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Kernel {
			if why, err := spared(p); err != nil || why == "" {
				t.Errorf("%s is not spared: %v", p, err)
			}
			return
		}
	}
	if why, err := spared(procfs.Process{ID: procfs.ID{PID: 2}, Kernel: true}); err != nil || why == "" {
		t.Errorf("a thread of the kernel is not spared: %v", err)
	}
}

// TestEndsOnlyTheOne gives a number to another process: whoever has it since is
// not the one that was found.
func TestEndsOnlyTheOne(t *testing.T) {
	v := start(t, "true")
	p, err := procfs.Read(v.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p.Start++ // as if it had begun later.
	p.Signal(syscall.SIGKILL)
	if ok, err := gone(t.Context(), p, patience); err != nil || !ok {
		t.Errorf("who is not there is there: %v", err)
	}
	if !v.runs() {
		t.Error("another process with the number was ended")
	}
}

func TestPattern(t *testing.T) {
	for name, tt := range map[string]struct {
		pattern, line string
		want          bool
	}{
		"the whole":       {"/usr/bin/web -d", "/usr/bin/web -d", true},
		"more behind":     {"/usr/bin/web", "/usr/bin/web -d", false},
		"more before":     {"web -d", "/usr/bin/web -d", false},
		"anything":        {"/usr/bin/java *.DataNode", "/usr/bin/java -Xmx1g org.apache.DataNode", true},
		"another end":     {"/usr/bin/java *.DataNode", "/usr/bin/java org.apache.DataNode x", false},
		"dots are dots":   {"a.b.c", "axbxc", false},
		"lines":           {"sh -c *end", "sh -c a\nb\nend", true},
		"a tail":          {"abc*", "abc", true},
		"no expressions":  {"abc|def", "abc", false},
		"many asterisks":  {"a*b**c", "a-b-c", true},
		"nothing of this": {"abc*", "xabc", false},
	} {
		p, err := ParsePattern(tt.pattern)
		if err != nil || p.Match(tt.line) != tt.want {
			t.Errorf("%s: %q and %q: %v, want %v", name, tt.pattern, tt.line, err, tt.want)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("/usr/bin/java *.DataNode", "/usr/bin/java x.DataNode")
	f.Add("(((", "[")
	f.Fuzz(func(t *testing.T, pattern, line string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			if mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("%q: %v", pattern, err)
			}
			return
		}
		if literal := strings.ReplaceAll(pattern, "*", ""); p.Match(line) && len(line) < len(literal) {
			t.Errorf("%q fits %q", pattern, line)
		}
		if !strings.Contains(pattern, "*") && p.Match(line) != (pattern == line) {
			t.Errorf("%q and %q: %v", pattern, line, p.Match(line))
		}
	})
}

func ExampleParsePattern() {
	p, err := ParsePattern("/usr/bin/java *.DataNode")
	fmt.Println(p.Match("/usr/bin/java -Xmx4g org.apache.hadoop.hdfs.server.datanode.DataNode"), err)
	// Output: true <nil>
}
