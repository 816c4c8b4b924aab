package agent_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alps/agent"
	"alps/agent/link"
	"alps/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socket is a path that is short enough for the kernel, however long the name
// of the test is.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "alps") //nolint:usetesting // t.TempDir is too long for a socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "agent.sock")
}

// serve runs a Control until stop is called or the test ends, and returns
// when it answers.
func serve(t *testing.T, path string, status func() agent.Status) (stop func()) {
	t.Helper()
	c, err := agent.NewControl(path, status)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	ended := false
	stop = func() {
		t.Helper()
		cancel()
		if ended {
			return
		}
		ended = true
		if err := <-done; err != nil {
			t.Errorf("Run returns %v when its context ends, want nil", err)
		}
	}
	t.Cleanup(stop)
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := agent.Ask(ctx, path)
		if err == nil {
			return stop
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("Run ends with %v before it answers", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody answers: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestControlTellsItsStatus(t *testing.T) {
	path := socket(t)
	want := agent.Status{
		Version: "1.2.3", Cluster: "bj-e", Node: "ba856192f4a303db9f2774435660211e", Name: "bj-e-hadoop01-11-203",
		DC: "bj-e-01", PID: 42, Started: time.Unix(1_700_000_000, 0).UTC(),
		Link: link.Status{
			Server: "bj-e-admin03", Skew: -3 * time.Second,
			LastError: &mesh.Error{Code: mesh.Unavailable, Message: "gone", Hint: "look"},
		},
		SpoolDisk: "no space left on device",
	}
	stop := serve(t, path, func() agent.Status { return want })

	got, err := agent.Ask(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *mesh.Error) bool {
		return a == b || a != nil && b != nil && a.Code == b.Code && a.Message == b.Message && a.Hint == b.Hint
	})); diff != "" {
		t.Errorf("the answer differs (-want +got):\n%s", diff)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o660 {
		t.Errorf("the socket has mode %o, want 660: others must not ask", got)
	}

	stop()
	if _, err := agent.Ask(t.Context(), path); mesh.CodeOf(err) != mesh.Unavailable {
		t.Errorf("Ask after the end: %v, want %s", err, mesh.Unavailable)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestControlReplacesWhatAKilledAgentLeft(t *testing.T) {
	path := socket(t)
	l := listen(t, path)
	l.SetUnlinkOnClose(false) // as a killed process leaves it.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("there is no stale socket to replace: %v", err)
	}
	serve(t, path, func() agent.Status { return agent.Status{PID: 7} })
	if got, err := agent.Ask(t.Context(), path); err != nil || got.PID != 7 {
		t.Errorf("Ask = pid %d, %v; want 7", got.PID, err)
	}
}

// TestControlRefuses covers what must not be taken away from somebody else.
func TestControlRefuses(t *testing.T) {
	tests := map[string]struct {
		occupy func(t *testing.T, path string)
		code   mesh.Code
		says   string
	}{
		"an agent that answers": {
			func(t *testing.T, path string) {
				t.Helper()
				serve(t, path, func() agent.Status { return agent.Status{PID: 1} })
			},
			mesh.Conflict, "another agent listens on ",
		},
		"an agent that hangs": {
			func(t *testing.T, path string) {
				t.Helper()
				l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() }) // never accepts.
			},
			mesh.Conflict, "another agent listens on ",
		},
		"a file that is no socket": {
			func(t *testing.T, path string) {
				t.Helper()
				if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			mesh.Invalid, "is not a socket",
		},
		"a directory that is absent": {
			func(t *testing.T, path string) {
				t.Helper()
				if err := os.Remove(filepath.Dir(path)); err != nil {
					t.Fatal(err)
				}
			},
			mesh.Internal, "open the control socket: ",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			tt.occupy(t, path)
			before, _ := os.Lstat(path)
			second, err := agent.NewControl(path, func() agent.Status { return agent.Status{PID: 2} })
			if err != nil {
				t.Fatal(err)
			}
			err = second.Run(t.Context())
			if mesh.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Run = %v (%s), want %q (%s)", err, mesh.CodeOf(err), tt.says, tt.code)
			}
			if after, _ := os.Lstat(path); before != nil && !os.SameFile(before, after) {
				t.Error("what was there is there no more")
			}
		})
	}
}

// TestAskSaysWhy covers the words: who starts an agent that runs already has
// been told the wrong thing.
func TestAskSaysWhy(t *testing.T) {
	tests := map[string]struct {
		occupy     func(t *testing.T, path string)
		code       mesh.Code
		says, hint string
	}{
		"never started": {func(*testing.T, string) {}, mesh.Unavailable, "there is no socket at ", "alps agent --config"},
		"killed": {
			func(t *testing.T, path string) {
				t.Helper()
				l := listen(t, path)
				l.SetUnlinkOnClose(false)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			},
			mesh.Unavailable, "nobody listens on ", "alps agent --config",
		},
		"hangs up": {
			func(t *testing.T, path string) {
				t.Helper()
				l := listen(t, path)
				done := make(chan struct{})
				go func() {
					defer close(done)
					if c, err := l.Accept(); err == nil {
						_ = c.Close()
					}
				}()
				t.Cleanup(func() {
					_ = l.Close()
					<-done
				})
			},
			mesh.Unavailable, "does not answer: ", "look at its log",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			tt.occupy(t, path)
			_, err := agent.Ask(t.Context(), path)
			e, ok := errors.AsType[*mesh.Error](err)
			if !ok || e.Code != tt.code || !strings.Contains(e.Message, tt.says) || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("Ask = %+v, want %s, %q and to try %q", err, tt.code, tt.says, tt.hint)
			}
		})
	}
}

func listen(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNewControlWantsBoth(t *testing.T) {
	for name, c := range map[string]struct {
		path   string
		status func() agent.Status
	}{
		"no path":   {"", func() agent.Status { return agent.Status{} }},
		"no status": {"agent.sock", nil},
	} {
		if _, err := agent.NewControl(c.path, c.status); err == nil {
			t.Errorf("%s: NewControl returns no error", name)
		}
	}
}
