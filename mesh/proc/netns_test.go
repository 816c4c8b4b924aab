package proc

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// netns is the network namespace of a process.
func netns(t *testing.T, pid string) string {
	t.Helper()
	ns, err := os.Readlink("/proc/" + pid + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func TestChildInANetworkNamespaceIsFoundAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	g, dir := newGroup(t, 0)
	path := filepath.Join(dir, "net")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewNetns(path); errors.Is(err, unix.EPERM) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	})
	s := helperSpec("a", "sleep", dir)
	s.Netns = path
	p := startHelper(t, g, s)
	eventually(t, "the helper is up", isUp(p))
	ours, its := netns(t, "thread-self"), netns(t, strconv.Itoa(p.PID()))
	if ours == its {
		t.Errorf("the child is in our network namespace %s", its)
	}
	if !p.id.matches() {
		t.Error("the record does not match the child: no sweep would find it")
	}
	// The next one is not caught in the namespace of the one before.
	q := startHelper(t, g, helperSpec("b", "sleep", dir))
	if got := netns(t, strconv.Itoa(q.PID())); got != ours {
		t.Errorf("the next child is in %s, want %s", got, ours)
	}
}

func TestNetworkNamespaceThatIsMissing(t *testing.T) {
	g, dir := newGroup(t, time.Second)
	s := helperSpec("a", "sleep", dir)
	s.Netns = filepath.Join(dir, "nothing")
	if _, err := g.Start(s); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start = %v, want that the file does not exist", err)
	}
}
