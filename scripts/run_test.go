package scripts_test

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/mesh/procfs"
)

// alps is the program that scripts lean on, built from the tree into the
// directory that TestMain removes.
var alps = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "alps-scripts-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "alps")
	out, err := exec.Command("go", "build", "-o", path, "alps/cmd/alps").CombinedOutput()
	if err != nil {
		err = errors.Join(err, errors.New(string(out)), os.RemoveAll(dir))
	}
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := alps(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // it lies among temporary files.
	}
	os.Exit(code)
}

// script runs scripts of the shipped library as an agent does.
type script struct {
	lib, alps string
	env       []string
}

func newScript(t *testing.T, env ...string) *script {
	t.Helper()
	path, err := alps()
	if err != nil {
		t.Fatal(err)
	}
	return &script{lib: written(t), alps: path, env: env}
}

// said is what a script left behind.
type said struct {
	code        int
	out, stderr string
	answer      mesh.Answer
	answered    bool
}

func (s *script) run(t *testing.T, name string, args ...string) said {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.lib, name, "run"), args...)
	cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH"), "ALPS=" + s.alps, "ALPS_NODE=web1"}, s.env)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	got := said{code: cmd.ProcessState.ExitCode(), out: stdout.String(), stderr: stderr.String()}
	got.answer, got.answered = mesh.ParseAnswer(stdout.Bytes())
	if got.code == 0 && (!got.answered || got.answer.Verdict != mesh.VerdictOK) {
		t.Errorf("%s %q exits with 0 and does not say ok: %s", name, args, got.out)
	}
	if got.code != 0 && got.stderr == "" && got.answer.Reason == "" {
		t.Errorf("%s %q exits with %d and does not say why", name, args, got.code)
	}
	return got
}

// file writes a file that is there until the test ends.
func file(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRestartService(t *testing.T) {
	dir := t.TempDir()
	good := file(t, dir+"/good", "#!/bin/sh\necho \"web on $ALPS_NODE\"\n", 0o755)
	bad := file(t, dir+"/bad", "#!/bin/sh\nexit 7\n", 0o755)
	plain := file(t, dir+"/plain", "#!/bin/sh\n", 0o644)
	// systemctl stands in for that of a machine: it has the unit web.service,
	// which it restarts and shows as it is told.
	systemctl := func(restart, active int) []string {
		t.Helper()
		bin := filepath.Join(dir, strconv.Itoa(restart)+"-"+strconv.Itoa(active))
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		file(t, bin+"/systemctl", `#!/bin/sh
echo "$*" >> "`+bin+`/asked"
case "$*" in
"cat web.service" | "cat web@1.service") exit 0 ;;
"restart web.service" | "restart web@1.service") exit `+strconv.Itoa(restart)+` ;;
"is-active --quiet web.service" | "is-active --quiet web@1.service") exit `+strconv.Itoa(active)+` ;;
esac
exit 99
`, 0o755)
		return []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	}
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ill" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(well.Close)
	addr := well.Listener.Addr().String()
	for name, tt := range map[string]struct {
		args   []string
		env    []string
		code   int
		out    string
		stderr string
	}{
		"a program":             {args: []string{good}, out: "web on web1\nrestarted by: " + good + "\n"},
		"a program that fails":  {args: []string{bad}, code: 1, stderr: "exited with 7"},
		"a program not there":   {args: []string{dir + "/none"}, code: 3, stderr: "there is no such file"},
		"not executable":        {args: []string{plain}, code: 3, stderr: "not executable"},
		"a relative path":       {args: []string{"bin/good"}, code: 2, stderr: "no name of a service"},
		"a unit":                {args: []string{"web"}, env: systemctl(0, 0), out: "restarted by: systemctl restart web.service\n"},
		"a unit by its suffix":  {args: []string{"web.service"}, env: systemctl(0, 0), out: "restart web.service\n"},
		"an instance":           {args: []string{"web@1"}, env: systemctl(0, 0), out: "restart web@1.service\n"},
		"a unit that will not":  {args: []string{"web"}, env: systemctl(5, 0), code: 1, stderr: "systemctl restart web.service exited with 5"},
		"a unit that falls":     {args: []string{"web"}, env: systemctl(0, 3), code: 1, stderr: "is not active"},
		"no such unit":          {args: []string{"nginx"}, env: systemctl(0, 0), code: 3, stderr: "no unit nginx.service"},
		"the agent":             {args: []string{"alps-agent"}, env: systemctl(0, 0), code: 2, stderr: "does not restart itself"},
		"no service":            {args: []string{"web.socket"}, env: systemctl(0, 0), code: 2, stderr: "no name of a service"},
		"an option":             {args: []string{"--all"}, env: systemctl(0, 0), code: 2, stderr: "no name of a service"},
		"a pattern":             {args: []string{"web*"}, env: systemctl(0, 0), code: 2, stderr: "no name of a service"},
		"a command":             {args: []string{"web; reboot"}, env: systemctl(0, 0), code: 2, stderr: "no name of a service"},
		"nothing":               {args: []string{""}, code: 2, stderr: "no name of a service"},
		"no argument":           {code: 2, stderr: "one to three arguments"},
		"it answers":            {args: []string{good, addr}, out: `"address":"` + addr + `"`},
		"a URL answers":         {args: []string{good, well.URL + "/", "5"}, out: `"verdict":"ok"`},
		"a unit answers":        {args: []string{"web", well.URL, "5"}, env: systemctl(0, 3), out: `"verdict":"ok"`},
		"a URL is ill":          {args: []string{good, well.URL + "/ill", "1"}, code: 1, out: "503 Service Unavailable"},
		"it does not answer":    {args: []string{good, "127.0.0.1:1", "1"}, code: 1, out: "connection refused"},
		"no address":            {args: []string{good, "somewhere"}, code: 2, stderr: "neither host:port nor a URL"},
		"no seconds":            {args: []string{good, addr, "soon"}, code: 2, stderr: "no number of seconds"},
		"dry":                   {args: []string{bad, addr, "3"}, env: []string{"ALPS_DRY_RUN=1"}, out: "would run: " + bad + ", and wait at most 3 s for " + addr},
		"dry, with what is not": {args: []string{dir + "/none"}, env: []string{"ALPS_DRY_RUN=1"}, code: 3, stderr: "there is no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, tt.env...)
			for range 2 { // it may run twice.
				got := s.run(t, "restart-service", tt.args...)
				if got.code != tt.code || !strings.Contains(got.out, tt.out) || !strings.Contains(got.stderr, tt.stderr) {
					t.Errorf("exit code %d, output %q, errors %q; want %d, %q, %q", got.code, got.out, got.stderr, tt.code, tt.out, tt.stderr)
				}
			}
		})
	}
}

// TestRestartServiceWaits has what was restarted answer a little later.
func TestRestartServiceWaits(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctl := file(t, dir+"/ctl", "#!/bin/sh\ntouch "+dir+"/asked\n", 0o755)
	// What answers begins when the program has run, and half a second later.
	began := make(chan error, 1)
	go func() {
		for {
			if _, err := os.Stat(dir + "/asked"); err == nil {
				break
			}
			if t.Context().Err() != nil {
				began <- t.Context().Err()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		began <- err
	}()
	got := newScript(t).run(t, "restart-service", ctl, addr, "60")
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	if got.code != 0 {
		t.Errorf("it says %+v", got)
	}
}

func TestCleanLogs(t *testing.T) {
	dir := t.TempDir()
	day := 24 * time.Hour
	for name, old := range map[string]time.Duration{
		"a.log": 0, "a.log.1": 8 * day, "a.log.2": 9 * day, "a.log.3": 10 * day, "b.txt": 20 * day, "open.log": 30 * day,
	} {
		at := time.Now().Add(-old)
		if err := os.Chtimes(file(t, filepath.Join(dir, name), strings.Repeat("x", 10_000), 0o600), at, at); err != nil {
			t.Fatal(err)
		}
	}
	open, err := os.Open(dir + "/open.log")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	names := func() []string {
		t.Helper()
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range list {
			out = append(out, e.Name())
		}
		return out
	}
	before := names()
	args := []string{dir, "*.log,*.log.*", "7", "1"}
	dry := newScript(t, "ALPS_DRY_RUN=1").run(t, "clean-logs", args...)
	if d := cmp.Diff(before, names()); d != "" || dry.code != 0 {
		t.Fatalf("the dry run has changed something (-before +after):\n%s%+v", d, dry)
	}
	done := newScript(t).run(t, "clean-logs", args...)
	if d := cmp.Diff([]string{"a.log", "a.log.1", "b.txt", "open.log"}, names()); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	list := func(text string) string {
		text, _, _ = strings.Cut(text, "{")
		return strings.ReplaceAll(text, "would remove", "removed")
	}
	if d := cmp.Diff(list(dry.out), list(done.out)); d != "" || !strings.Contains(done.out, "removed a.log.3, 12288 bytes") {
		t.Errorf("the list of the dry run is another (-dry +done):\n%s%s", d, done.out)
	}
	e := done.answer.Evidence
	if e["files"] != "2" || e["bytes"] != "24576" || e["free_before"] == "" || e["free_after"] == "" || !strings.Contains(e["left"], "1 open") || dry.answer.Evidence["dry_run"] != "true" {
		t.Errorf("the evidence is %v", e)
	}
	if again := newScript(t).run(t, "clean-logs", args...); again.code != 0 || again.answer.Evidence["files"] != "0" || again.answer.Reason == "" {
		t.Errorf("the second run: %+v", again)
	}
	for name, args := range map[string][]string{
		"no directory":  {dir + "/none", "*.log", "7"},
		"everything":    {dir, "*", "7"},
		"no days":       {dir, "*.log", "week"},
		"no amount":     {dir, "*.log", "7", "1", "much"},
		"too few":       {dir, "*.log"},
		"the root":      {"/", "*.log", "7"},
		"an option":     {"--dry-run", "*.log", "7"},
		"too many":      {dir, "*.log", "7", "1", "1G", "x"},
		"negative days": {dir, "*.log", "-1"},
	} {
		if got := newScript(t).run(t, "clean-logs", args...); got.code != 2 || got.stderr == "" {
			t.Errorf("%s: %+v, want the exit code 2", name, got)
		}
	}
}

func TestEndStuck(t *testing.T) {
	word := "stuck-" + mesh.RandomHex(8)
	start := func() *exec.Cmd {
		t.Helper()
		// It is deaf, as what hangs may be.
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "trap '' TERM; echo runs; while :; do sleep 0.05; done", word)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	me := strconv.Itoa(os.Geteuid())
	for name, args := range map[string]func(pid string) []string{
		"by its command line": func(string) []string { return []string{"/bin/sh -c *" + word, me, "1"} },
		"by its pid file":     func(pid string) []string { return []string{file(t, t.TempDir()+"/pid", pid+"\n", 0o600), "", "1"} },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := start()
			pid := strconv.Itoa(cmd.Process.Pid)
			words := args(pid)
			dry := newScript(t, "ALPS_DRY_RUN=1").run(t, "end-stuck", words...)
			if p, err := procfs.Read(cmd.Process.Pid); dry.code != 0 || err != nil || p.Ended() || dry.answer.Evidence["pid"] != pid {
				t.Errorf("dry: %+v, %v", dry, err)
			}
			done := newScript(t).run(t, "end-stuck", words...)
			if done.code != 0 || done.answer.Evidence["pid"] != pid || done.answer.Evidence["signal"] != "SIGKILL" {
				t.Errorf("done: %+v", done)
			}
			_ = cmd.Wait() // it was killed.
			if again := newScript(t).run(t, "end-stuck", words...); again.code != 0 || again.answer.Reason != "there is no such process" {
				t.Errorf("the second run: %+v", again)
			}
		})
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"process 1":   {[]string{file(t, t.TempDir()+"/pid", "1", 0o600)}, 4, "it is process 1"},
		"no user":     {[]string{"/usr/bin/java *.DataNode"}, 2, "may be anybody's"},
		"no seconds":  {[]string{"/usr/bin/java *", me, "soon"}, 2, "soon"},
		"no argument": {nil, 2, "one to three arguments"},
	} {
		if got := newScript(t).run(t, "end-stuck", tt.args...); got.code != tt.code || !strings.Contains(got.stderr, tt.want) {
			t.Errorf("%s: %+v, want the exit code %d and %q", name, got, tt.code, tt.want)
		}
	}
}
