package run

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func newRunner(t *testing.T, o Options) *Runner {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "work")
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var marks sync.Map // name of a test → its mark.

func markOf(t *testing.T) string {
	t.Helper()
	m, _ := marks.LoadOrStore(t.Name(), NewMark(mesh.NewJobID(), 1))
	return m.(string)
}

func task(t *testing.T, script string) Task {
	t.Helper()
	mark := markOf(t)
	job, _, _ := strings.Cut(mark, ".")
	return Task{
		Job: mesh.JobID(job), Attempt: 1, Mark: mark,
		Script: []byte(script), Name: "job.sh", Timeout: time.Minute, Grace: 5 * time.Second,
	}
}

func TestEnds(t *testing.T) {
	r := newRunner(t, Options{})
	type end struct {
		State  mesh.State
		Code   int
		Signal string
		Reason string
		Stdout string
	}
	tests := []struct {
		name    string
		command []string
		script  string
		want    end
	}{
		{name: "ok", script: "echo hello", want: end{State: mesh.OK, Stdout: "hello\n"}},
		{name: "exit code", script: "exit 3", want: end{State: mesh.Failed, Code: 3}},
		{name: "exit code 255", script: "exit 255", want: end{State: mesh.Failed, Code: 255}},
		{name: "a code that looks like a signal", script: "exit 143", want: end{State: mesh.Failed, Code: 143}},
		{name: "foreign signal", script: "kill -SEGV $$", want: end{State: mesh.Signaled, Signal: "SIGSEGV"}},
		{
			name: "foreign kill", script: "kill -KILL $$",
			want: end{State: mesh.Signaled, Signal: "SIGKILL", Reason: "ALPS did not send this signal; the kernel does when memory runs out"},
		},
		{name: "command", command: []string{"echo", "a  b", "$HOME"}, want: end{State: mesh.OK, Stdout: "a  b $HOME\n"}},
		{name: "shebang", script: "#!/bin/cat\nself", want: end{State: mesh.OK, Stdout: "#!/bin/cat\nself"}},
		{name: "no input", script: "cat; echo end", want: end{State: mesh.OK, Stdout: "end\n"}},
		{
			name: "unknown command", command: []string{"no-such-command"},
			want: end{State: mesh.Failed, Code: 127, Reason: `the command "no-such-command" is not in PATH (` + searchPath + `)`},
		},
		{
			name: "unknown path", command: []string{"/no/such/command"},
			want: end{State: mesh.Failed, Code: 127, Reason: "/no/such/command does not exist"},
		},
		{
			name: "not executable", command: []string{"/etc/passwd"},
			want: end{State: mesh.Failed, Code: 126, Reason: "/etc/passwd cannot be run as " + ownAccount().name + ": permission denied"},
		},
		{
			name: "directory", command: []string{"/etc"},
			want: end{State: mesh.Failed, Code: 126, Reason: "/etc cannot be run as " + ownAccount().name + ": permission denied"},
		},
		{
			name: "no interpreter", script: "#!/no/such/sh\n",
			want: end{State: mesh.Failed, Code: 127, Reason: `the interpreter in the script's first line "#!/no/such/sh" does not exist`},
		},
		{
			name: "windows line ends", script: "#!/bin/sh\r\necho hi\r\n",
			want: end{State: mesh.Failed, Code: 127, Reason: `the script's first line "#!/bin/sh" ends in a carriage return: it was saved with Windows line ends`},
		},
		{
			name: "no program", script: "\x00\x01garbage",
			want: end{State: mesh.Failed, Code: 126, Reason: "it is not a program for this machine"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tk := task(t, tt.script)
			if tt.command != nil {
				tk.Script, tk.Command = nil, tt.command
			}
			res := r.Run(t.Context(), tk)
			got := end{res.State, res.Code, res.Signal, res.Reason, string(res.Stdout.Kept)}
			if tt.name == "no program" {
				got.Reason = got.Reason[strings.LastIndex(got.Reason, ": ")+2:]
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnvironmentIsTheSameEverywhere(t *testing.T) {
	t.Setenv("AGENT_SECRET", "do not leak")
	r := newRunner(t, Options{})
	tk := task(t, "")
	tk.Script, tk.Command = nil, []string{"/usr/bin/env"}
	tk.Env = map[string]string{"WHAT": "a=b c", "LANG": "C", "ALPS_NODE": "forged", "ALPS_JOB": "forged"}
	tk.Vars = map[string]string{"ALPS_NODE": "n1"}
	res := r.Run(t.Context(), tk)
	got := map[string]string{}
	for line := range strings.Lines(string(res.Stdout.Kept)) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		got[k] = v
	}
	own := ownAccount()
	want := map[string]string{
		"PATH": searchPath, "LANG": "C", "SHELL": "/bin/sh", "HOME": own.home, "USER": own.name, "LOGNAME": own.name,
		"WHAT": "a=b c", "ALPS_NODE": "n1", "ALPS_JOB": tk.Mark,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestPlaceAndLimits(t *testing.T) {
	syscall.Umask(0o077) // the agent's own must not become the job's.
	t.Cleanup(func() { syscall.Umask(0o022) })
	r := newRunner(t, Options{Limits: Limits{Files: 123}})
	tk := task(t, `sleep 0.2; pwd; umask; ulimit -n; ulimit -c; echo "$0" "$@"; touch here`)
	tk.Name, tk.Args = "../../odd näme.sh", []string{"x y", "*"}
	res := r.Run(t.Context(), tk)
	top := filepath.Join(r.o.Dir, tk.dirName())
	want := strings.Join([]string{
		filepath.Join(top, "work"), "0022", "123", "0", filepath.Join(top, "bin", "odd_n_me.sh") + " x y *", "",
	}, "\n")
	if diff := cmp.Diff(want, string(res.Stdout.Kept)); diff != "" {
		t.Errorf("output (-want +got):\n%s\n%s", diff, res.Stderr.Kept)
	}
	whole, err := os.ReadFile(filepath.Join(top, "stdout"))
	if err != nil || string(whole) != want {
		t.Errorf("whole output: got %q (%v)", whole, err)
	}

	if err := r.Clean(time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(top); err != nil {
		t.Errorf("a young directory was cleaned: %v", err)
	}
	if err := r.Clean(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(top); !os.IsNotExist(err) {
		t.Errorf("an old directory was not cleaned: %v", err)
	}
}

func TestRunAs(t *testing.T) {
	if os.Getuid() != 0 {
		r := newRunner(t, Options{RunAs: []string{"nobody"}})
		if err := r.Allows("nobody"); err == nil || !strings.Contains(err.Error(), "only root may switch users") {
			t.Errorf("got %v, want that only root may switch", err)
		}
		return
	}
	dir := openDir(t)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, Options{Dir: filepath.Join(dir, "work"), RunAs: []string{"nobody", "no-such-user"}})
	t.Run("barred by the directory above", func(t *testing.T) {
		tk := task(t, "id")
		tk.RunAs = "nobody"
		res := r.Run(t.Context(), tk)
		want := `the user "nobody" may not enter ` + dir + `, which the job's directory lies in`
		if res.State != mesh.Failed || res.Code != 126 || res.Reason != want {
			t.Errorf("got %s(%d) %q, want FAILED(126) %q", res.State, res.Code, res.Reason, want)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Run("switched", func(t *testing.T) {
		tk := task(t, "id -un; id -G; touch mine; echo $USER; cat \"$0\" >/dev/null && echo readable")
		tk.RunAs = "nobody"
		res := r.Run(t.Context(), tk)
		if want := "nobody\n65534\nnobody\nreadable\n"; string(res.Stdout.Kept) != want {
			t.Errorf("got %q (%s %s %s), want %q", res.Stdout.Kept, res.State, res.Reason, res.Stderr.Kept, want)
		}
	})
	for name, want := range map[string]string{
		"daemon":       `this node does not allow jobs to run as "daemon"`,
		"no-such-user": `the user "no-such-user" does not exist on this node`,
	} {
		if err := r.Allows(name); err == nil || err.Error() != want {
			t.Errorf("Allows(%q): got %v, want %q", name, err, want)
		}
	}
	for _, name := range []string{"", "root", "nobody"} {
		if err := r.Allows(name); err != nil {
			t.Errorf("Allows(%q): got %v", name, err)
		}
	}
}

func TestTimeout(t *testing.T) {
	modes(t, func(t *testing.T, r *Runner) {
		tk := task(t, "echo begun; sleep 3600 & sleep 3600")
		tk.Timeout = 300 * time.Millisecond
		res := r.Run(t.Context(), tk)
		if want := "it ran longer than 300ms; 3 processes were stopped"; res.State != mesh.Timeout || res.Reason != want {
			t.Errorf("got %s %q, want TIMEOUT %q", res.State, res.Reason, want)
		}
		if got := string(res.Stdout.Kept); got != "begun\n" {
			t.Errorf("output: got %q", got)
		}
	})
}

func TestAgentStops(t *testing.T) {
	r := newRunner(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	tk := task(t, "sleep 3600")
	tk.Started = func(time.Time) { cancel() }
	res := r.Run(ctx, tk)
	if want := "the agent was stopped while it ran; "; res.State != mesh.Unknown || !res.Interrupted || !strings.HasPrefix(res.Reason, want) {
		t.Errorf("got %s %q (interrupted %v), want UNKNOWN %q", res.State, res.Reason, res.Interrupted, want)
	}
}

func TestOutputIsBounded(t *testing.T) {
	r := newRunner(t, Options{MaxWhole: 1 << 20})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res := r.Run(t.Context(), task(t, "echo first; head -c 52428800 /dev/zero; echo last; echo err >&2"))
	runtime.ReadMemStats(&after)
	const want = 52428800 + 6 + 5
	if res.State != mesh.OK || res.Stdout.Bytes != want || !res.Stdout.Truncated {
		t.Fatalf("got %s %d bytes truncated %v, want OK %d true", res.State, res.Stdout.Bytes, res.Stdout.Truncated, want)
	}
	kept := res.Stdout.Kept
	if len(kept) > mesh.MaxOutput || !bytes.HasPrefix(kept, []byte("first\n")) || !bytes.HasSuffix(kept, []byte("last\n")) {
		t.Errorf("kept %d bytes, from %q to %q", len(kept), kept[:8], kept[len(kept)-8:])
	}
	if !bytes.Contains(kept, []byte("\n[alps: 51380299 bytes are left out here]\n")) {
		i := bytes.Index(kept, []byte("[alps"))
		t.Errorf("no marker: %q", kept[max(i, 0):max(i, 0)+80])
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("allocated %d bytes for 50 MB of output", got)
	}
	if string(res.Stderr.Kept) != "err\n" || res.Stderr.Truncated {
		t.Errorf("stderr: got %q", res.Stderr.Kept)
	}
	tk := task(t, "")
	info, err := os.Stat(filepath.Join(r.o.Dir, tk.dirName(), "stdout"))
	if err != nil || info.Size() != 1<<20 {
		t.Errorf("whole output: %v, %v; want 1 MiB", info, err)
	}
}

func TestBinaryOutput(t *testing.T) {
	r := newRunner(t, Options{})
	want := "\x00\xff\xfe\x80\xc3(\x1b[31m"
	res := r.Run(t.Context(), task(t, `printf '\000\377\376\200\303(\033[31m'`))
	if got := string(res.Stdout.Kept); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestManyQuickJobs(t *testing.T) {
	r := newRunner(t, Options{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 8 {
				tk := Task{
					Job: mesh.NewJobID(), Attempt: 1, Script: []byte("#!/bin/sh\necho " + strconv.Itoa(w*100+i)),
					Name: "x", Timeout: time.Minute, Grace: time.Second,
				}
				tk.Mark = NewMark(tk.Job, 1)
				res := r.Run(t.Context(), tk)
				if got := string(res.Stdout.Kept); got != strconv.Itoa(w*100+i)+"\n" || res.State != mesh.OK || res.Reason != "" {
					t.Errorf("got %s %q %q", res.State, res.Reason, got)
				}
			}
		})
	}
	wg.Wait()
}

func TestCaptureKeepsHeadAndTail(t *testing.T) {
	const limit = 2*markerRoom + 20 // 74 bytes of head, 10 of tail.
	for _, n := range []int{0, 1, 73, 74, 75, 84, 85, 94, 95, 500} {
		for _, step := range []int{1, 7, 600} {
			all := make([]byte, n)
			for i := range all {
				all[i] = byte('a' + i%26)
			}
			c := newCapture(nil, 0, limit)
			for b := all; len(b) > 0; {
				k, _ := c.Write(b[:min(step, len(b))])
				b = b[k:]
			}
			s := c.stream()
			want := string(all)
			if n > 84 {
				want = string(all[:74]) + "\n[alps: " + strconv.Itoa(n-84) + " bytes are left out here]\n" + string(all[n-10:])
			}
			if string(s.Kept) != want || s.Bytes != int64(n) || s.Truncated != (n > 84) || (s.Digest == "") != (n == 0) {
				t.Errorf("%d bytes by %d: got %q truncated %v, want %q", n, step, s.Kept, s.Truncated, want)
			}
		}
	}
}

func TestNewRefusesARelativeDirectory(t *testing.T) {
	if _, err := New(Options{Dir: "work"}); err == nil {
		t.Error("got no error")
	}
}

func TestEnvironment(t *testing.T) {
	env := map[string]string{"A": "job", "B": "job"}
	before := maps.Clone(env)
	r := &Runner{o: Options{Env: map[string]string{"A": "node", "C": "node", "PATH": "/opt/bin"}}}
	got := r.environment(&Task{Env: env, Vars: map[string]string{"B": "agent"}, Mark: "m"}, account{name: "u"})
	for _, want := range []string{"A=job", "B=agent", "C=node", "PATH=/opt/bin", "USER=u"} {
		if !slices.Contains(got, want) {
			t.Errorf("the environment %q lacks %s", got, want)
		}
	}
	if diff := cmp.Diff(before, env); diff != "" {
		t.Errorf("the job's environment was changed:\n%s", diff)
	}
	r.SetEnv(nil)
	if got := r.environment(&Task{Env: env}, account{}); slices.Contains(got, "C=node") {
		t.Errorf("what was taken away is still there: %q", got)
	}
}

func TestLaunchErrorsAreSaidLikeAShell(t *testing.T) {
	res := failedLaunch(errors.New("disk full"))
	if res.State != mesh.Failed || res.Code != 126 || res.Reason != "disk full" {
		t.Errorf("got %+v", res)
	}
}
