package scripts_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"alps/scripts"
	"alps/server/remedy/library"
)

// written returns the shipped library in a directory.
func written(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "scripts")
	if err := os.CopyFS(dir, scripts.FS()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLibrary says that a server takes what is shipped, and that the README has
// a row for each script.
func TestLibrary(t *testing.T) {
	l, err := library.Load(written(t))
	if err != nil {
		t.Fatal(err)
	}
	all := l.Scripts()
	if len(all) == 0 {
		t.Fatal("no script is shipped")
	}
	here, err := library.Load(".")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(here.Scripts()); got != len(all) {
		t.Errorf("%d scripts lie here, %d are shipped", got, len(all))
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if !bytes.Contains(readme, []byte("| `"+s.Name+"` | ")) {
			t.Errorf("README.md has no row for %s", s.Name)
		}
	}
}

// TestSyntax has shellcheck, where there is one, or else the shell itself, read
// every script.
func TestSyntax(t *testing.T) {
	lint := []string{"sh", "-n"}
	if path, err := exec.LookPath("shellcheck"); err == nil {
		lint = []string{path}
	}
	runs, err := fs.Glob(scripts.FS(), "*/run")
	if err != nil || len(runs) == 0 {
		t.Fatalf("scripts %v, %v", runs, err)
	}
	for _, run := range runs {
		body, err := os.ReadFile(run)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(body, []byte("#!/bin/sh\n")) {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), lint[0], append(lint[1:], run)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(lint, " "), err, out)
		}
	}
}

func TestRestartWeb(t *testing.T) {
	if _, err := os.Stat("/etc/alps/web.restart"); err == nil {
		t.Skip("this machine has a /etc/alps/web.restart, which would be run")
	}
	run := filepath.Join(written(t), "restart-web", "run")
	dir := t.TempDir()
	program := func(name, body string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := program("good", `echo "web on $ALPS_NODE"`, 0o755)
	bad := program("bad", "exit 7", 0o755)
	plain := program("plain", "exit 0", 0o644)
	systemctl := func(unit, restart string) []string {
		t.Helper()
		bin := filepath.Join(dir, "bin-"+unit+restart)
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(bin, "systemctl")
		text := "#!/bin/sh\n[ \"$1\" = cat ] && exit " + unit + "\n[ \"$1\" = restart ] && exit " + restart + "\nexit 99\n"
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, 0o755)); err != nil {
			t.Fatal(err)
		}
		return []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	}
	_, err := os.Stat("/run/systemd/system")
	booted := err == nil
	for name, tt := range map[string]struct {
		args    []string
		env     []string
		systemd bool // it needs a machine that systemd runs.
		code    int
		out     string
		stderr  string
	}{
		"the given script":       {args: []string{good}, env: systemctl("0", "0"), out: "web on web1\nrestarted web by " + good + "\n"},
		"a script that fails":    {args: []string{bad}, env: systemctl("0", "0"), code: 1, stderr: "it exited with 7"},
		"a script not there":     {args: []string{dir + "/none"}, env: systemctl("0", "0"), code: 3, stderr: "there is no such file"},
		"not executable":         {args: []string{plain}, env: systemctl("0", "0"), code: 3, stderr: "not executable"},
		"a relative path":        {args: []string{"good"}, code: 2, stderr: "not an absolute path"},
		"two arguments":          {args: []string{good, good}, code: 2, stderr: "one argument at most, got 2"},
		"the environment's":      {env: append(systemctl("1", "0"), "ALPS_WEB_RESTART="+good), out: "restarted web by " + good},
		"an empty argument":      {args: []string{""}, env: append(systemctl("1", "0"), "ALPS_WEB_RESTART="+good), out: "restarted web by " + good},
		"nothing":                {env: systemctl("1", "0"), code: 3, stderr: "no systemd unit web.service"},
		"the unit comes first":   {systemd: true, env: append(systemctl("0", "0"), "ALPS_WEB_RESTART="+bad), out: "restarted the systemd unit web.service\n"},
		"a unit that will not":   {systemd: true, env: systemctl("0", "5"), code: 1, stderr: "exited with 5"},
		"the script, not a unit": {args: []string{good}, env: systemctl("0", "5"), out: "restarted web by " + good},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.systemd && !booted {
				t.Skip("systemd does not run here")
			}
			for range 2 { // it may run twice.
				cmd := exec.CommandContext(t.Context(), run, tt.args...)
				cmd.Env = append(os.Environ(), append(tt.env, "ALPS_NODE=web1")...)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				err := cmd.Run()
				if cmd.ProcessState == nil {
					t.Fatal(err)
				}
				if got := cmd.ProcessState.ExitCode(); got != tt.code || !strings.Contains(stdout.String(), tt.out) || !strings.Contains(stderr.String(), tt.stderr) {
					t.Errorf("exit code %d, output %q, errors %q; want %d, %q, %q", got, &stdout, &stderr, tt.code, tt.out, tt.stderr)
				}
				if tt.code != 0 && stderr.Len() == 0 {
					t.Error("it failed without a reason")
				}
			}
		})
	}
}
