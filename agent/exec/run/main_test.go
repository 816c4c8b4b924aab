package run

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/goleak"
)

// helperVar makes the test binary play a program that no shell can.
const helperVar = "RUN_TEST_HELPER"

func TestMain(m *testing.M) {
	if role := os.Getenv(helperVar); role != "" {
		os.Exit(helper(role))
	}
	goleak.VerifyTestMain(m)
}

func helper(role string) int {
	switch role {
	case "zombie": // has a child that ended and that nobody reaps.
		child := exec.Command("/bin/true")
		if err := child.Start(); err != nil {
			return 1
		}
		// Wait for its end, and leave it unreaped.
		if err := unix.Waitid(unix.P_PID, child.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			return 1
		}
		_, _ = os.Stdout.WriteString("ready\n")
		time.Sleep(time.Hour)
	case "stubborn": // heeds no TERM, and neither do its children.
		signal.Ignore(syscall.SIGTERM)
		child := exec.Command("/bin/sleep", "3600")
		child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := child.Start(); err != nil {
			return 1
		}
		_, _ = os.Stdout.WriteString("ready\n")
		time.Sleep(time.Hour)
	}
	return 0
}
