package plugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"alps/mesh/procfs"
)

var marks = []string{"ALPS_CHECK=plugin-test", "ALPS_NODE=" + strconv.Itoa(os.Getpid())}

// shell is a Spec for a line of shell.
func shell(line string) Spec {
	return Spec{Command: []string{"/bin/sh", "-c", line}, Env: append([]string{"PATH=/bin:/usr/bin"}, marks...), Marks: marks, Timeout: time.Minute}
}

// play is a Spec for a helper.
func play(role string) Spec {
	return Spec{
		Command: []string{os.Args[0]}, Env: append([]string{helperVar + "=" + role}, marks...), Marks: marks,
		Timeout: time.Minute, Grace: 50 * time.Millisecond,
	}
}

func run(t *testing.T, s Spec) Result {
	t.Helper()
	r := Run(t.Context(), s)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if len(r.Left) > 0 || r.Gone != nil {
		t.Errorf("left behind: %v", r.Left)
	}
	return r
}

// wantNobody fails the test when a process with our marks is left.
func wantNobody(t *testing.T) {
	t.Helper()
	all, err := procfs.List(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if ours, _ := p.HasEnv(marks...); ours && !p.Ended() {
			t.Errorf("%s is left", p)
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
	}
}

func TestHowItEnds(t *testing.T) {
	tests := map[string]struct {
		line           string
		code           int
		signal         string
		stdout, stderr string
	}{
		"passing":          {"echo fine", 0, "", "fine\n", ""},
		"warning":          {"echo so so; exit 1", 1, "", "so so\n", ""},
		"critical":         {"echo bad >&2; exit 2", 2, "", "", "bad\n"},
		"unknown":          {"exit 3", 3, "", "", ""},
		"out of bounds":    {"exit 200", 200, "", "", ""},
		"a signal":         {"kill -SEGV $$", 0, "SIGSEGV", "", ""},
		"no input":         {"cat; echo end", 0, "", "end\n", ""},
		"its own session":  {`test "$(ps -o sid= -p $$ | tr -d " ")" = $$ && echo yes`, 0, "", "yes\n", ""},
		"only its own env": {"env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort", 0, "", strings.Join(append(marks, "PATH=/bin:/usr/bin"), "\n") + "\n", ""},
		"from the root":    {"pwd", 0, "", "/\n", ""},
		"a late filter":    {"(sleep 0.02; echo late) &", 0, "", "late\n", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(tc.line, "ps -o") {
				if _, _, err := lookPath("ps", []string{"PATH=/bin:/usr/bin"}); err != nil {
					t.Skip("this machine has no ps")
				}
			}
			r := run(t, shell(tc.line))
			if r.Code != tc.code || r.Signal != tc.signal || string(r.Stdout) != tc.stdout || string(r.Stderr) != tc.stderr || r.Timeout || r.Stopped || r.Truncated {
				t.Errorf("got %+v\nstdout %q stderr %q", r, r.Stdout, r.Stderr)
			}
		})
	}
	wantNobody(t)
}

func TestWhatCannotBeStarted(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "#!/bin/sh\n", 0o644)
	env := []string{"PATH=" + dir}
	for name, tc := range map[string]struct {
		command string
		code    int
		say     string
	}{
		"no file":                {filepath.Join(dir, "none"), 127, "no such file"},
		"not in PATH":            {"none", 127, "not in PATH"},
		"not executable":         {plain, 126, "permission denied"},
		"in PATH not executable": {"plain", 126, "not executable"},
		"no program":             {write("text", "\x00\x01\x02", 0o755), 126, "exec format error"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Run(t.Context(), Spec{Command: []string{tc.command}, Env: env, Timeout: time.Minute})
			if r.Err == nil || r.Code != tc.code || !strings.Contains(r.Err.Error(), tc.say) {
				t.Errorf("got code %d, %v; want %d and %q", r.Code, r.Err, tc.code, tc.say)
			}
		})
	}
}

func TestAFloodNeitherBlocksNorFillsMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := run(t, play("flood"))
	runtime.ReadMemStats(&after)
	if len(r.Stdout) != MaxStdout || !r.Truncated || r.Code != 0 {
		t.Errorf("%d bytes kept, truncated %v, code %d", len(r.Stdout), r.Truncated, r.Code)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 2<<20 {
		t.Errorf("%d bytes were allocated for 50 MB", grown)
	}
}

func TestATimeoutEndsTheWholeTree(t *testing.T) {
	for _, role := range []string{"stubborn", "endless", "deaf"} {
		t.Run(role, func(t *testing.T) {
			s := play(role)
			s.Timeout = 2 * time.Second // long enough to have become deaf.
			r := run(t, s)
			if !r.Timeout || r.Signal != "SIGKILL" {
				t.Errorf("timeout %v, signal %q; want a timeout by SIGKILL", r.Timeout, r.Signal)
			}
			if role == "stubborn" && len(strings.Fields(string(r.Stdout))) != 2 {
				t.Errorf("it started %q, want two children", r.Stdout)
			}
			wantNobody(t)
		})
	}
}

func TestTermIsEnoughForMost(t *testing.T) {
	s := shell("trap 'echo tidy; exit 7' TERM; sleep 60 & wait")
	s.Timeout, s.Grace = 200*time.Millisecond, time.Minute
	r := run(t, s)
	if !r.Timeout || r.Code != 7 || !strings.Contains(string(r.Stdout), "tidy") {
		t.Errorf("timeout %v, code %d, %q; want that it could tidy up", r.Timeout, r.Code, r.Stdout)
	}
	wantNobody(t)
}

func TestAPipeThatIsKeptOpenIsNotWaitedFor(t *testing.T) {
	r := run(t, play("orphan"))
	if r.Timeout || r.Code != 1 {
		t.Errorf("timeout %v, code %d; want the script's own end", r.Timeout, r.Code)
	}
	wantNobody(t)
}

func TestTheRestOfItsGroupEndsWithIt(t *testing.T) {
	r := run(t, play("background"))
	pid, err := strconv.Atoi(string(r.Stdout))
	if err != nil {
		t.Fatalf("it said %q", r.Stdout)
	}
	// It was told to die; who reaps it is not ours to say.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		p, err := procfs.Read(pid)
		if err != nil || p.Ended() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s runs although its script has ended", p)
		}
	}
	wantNobody(t)
}

func TestCancellingStopsIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := play("deaf")
	ready := filepath.Join(t.TempDir(), "ready")
	s.Env = append(s.Env, readyVar+"="+ready)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(ready); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	})
	r := Run(ctx, s)
	cancel()
	wg.Wait()
	if !r.Stopped || r.Timeout || r.Signal != "SIGKILL" {
		t.Errorf("got %+v, want it stopped", r)
	}
	wantNobody(t)
}

func ExampleParse() {
	text, samples := Parse([]byte("DISK OK - free | /=2643MB;5948;5958;0;5968\nall is well\n"))
	fmt.Println(text)
	fmt.Println(samples[0].Name, samples[0].Value, samples[0].Unit, samples[0].Warn)
	// Output:
	// DISK OK - free
	// all is well
	// / 2.771386368e+09 B 6.236930048e+09
}
