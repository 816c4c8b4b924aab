package plugin

import (
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// helperVar makes the test binary play a script that no shell can.
const helperVar = "PLUGIN_TEST_HELPER"

// readyVar names the file by which the deaf say that they are.
const readyVar = "PLUGIN_TEST_READY"

func TestMain(m *testing.M) {
	if role := os.Getenv(helperVar); role != "" {
		os.Exit(helper(role))
	}
	goleak.VerifyTestMain(m)
}

func helper(role string) int {
	// The last resort against a test that loses one.
	time.AfterFunc(2*time.Minute, func() { os.Exit(99) })
	switch role {
	case "flood": // 50 MB.
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = 'x'
		}
		for range 50 {
			_, _ = os.Stdout.Write(block)
		}
	case "endless":
		signal.Ignore(syscall.SIGTERM)
		for {
			_, _ = os.Stdout.WriteString("more\n")
		}
	case "stubborn": // heeds no TERM, and neither do its children, one of which left the session.
		signal.Ignore(syscall.SIGTERM)
		spawn("deaf", &syscall.SysProcAttr{Setpgid: true})
		spawn("deaf", &syscall.SysProcAttr{Setsid: true})
		time.Sleep(time.Hour)
	case "orphan": // exits at once; a child of another session holds the pipes.
		spawn("deaf", &syscall.SysProcAttr{Setsid: true})
		return 1
	case "background": // exits at once; a child of its group has let go of the pipes.
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), helperVar+"=deaf")
		if c.Start() != nil {
			return 98
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(c.Process.Pid))
	case "deaf": // says in a file that it is, if it is told one.
		signal.Ignore(syscall.SIGTERM)
		if path := os.Getenv(readyVar); path != "" && os.WriteFile(path, nil, 0o600) != nil {
			return 98
		}
		time.Sleep(time.Hour)
	}
	return 0
}

// spawn starts a child with our pipes and says its number.
func spawn(role string, attr *syscall.SysProcAttr) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), helperVar+"="+role)
	c.Stdout, c.Stderr, c.SysProcAttr = os.Stdout, os.Stderr, attr
	if err := c.Start(); err != nil {
		_, _ = os.Stdout.WriteString(err.Error())
		return
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(c.Process.Pid) + "\n")
}
