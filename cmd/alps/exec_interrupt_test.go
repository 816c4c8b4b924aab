package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	v1 "alps/server/api/v1"
)

// TestInterrupt presses Ctrl-C while a job runs on three nodes.
func TestInterrupt(t *testing.T) {
	tests := map[string]struct {
		args   []string
		answer string // typed at the question; empty when none is asked.
		want   string // part of what is said.
		stops  bool
	}{
		"cancel without asking":   {args: []string{"--yes"}, want: "3 of 3 nodes confirmed stopped", stops: true},
		"asked, and confirmed":    {answer: "y\n", want: "3 of 3 nodes confirmed stopped", stops: true},
		"asked, and not":          {answer: "\n", want: "the job goes on: alps job show "},
		"asked, and left hanging": {answer: "\x03"},
	}
	c := sharedCluster(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			said, code, id := interrupt(t, c, tt.args, tt.answer)
			if !strings.Contains(said, tt.want) || code == exitOK {
				t.Errorf("exec says %q and exits with %d, want it to say %q and not 0", said, code, tt.want)
			}
			job := getJob(t, c, id)
			if got := job.Counts[mesh.Cancelled] == 3; got != tt.stops {
				t.Errorf("the job has counts %v, want it cancelled: %v", job.Counts, tt.stops)
			}
			if !tt.stops {
				if _, err := c.Client().Steer(t.Context(), string(id), v1.Cancel); err != nil {
					t.Fatal(err)
				}
				awaitJob(t, c, id, "cancelled", ended)
			}
		})
	}
}

// interrupt runs exec on a terminal of its own, presses Ctrl-C when the job
// runs everywhere, and answers the question if one is expected.
func interrupt(t *testing.T, c *dev.Cluster, args []string, answer string) (said string, code int, id mesh.JobID) {
	t.Helper()
	token, err := c.Token()
	if err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprintf("%d", time.Now().UnixNano())
	args = append(append([]string{"exec", "-t", "role=hadoop"}, args...), "--", "sh", "-c", "sleep 120; : "+mark)
	terminal, inside := openTerminal(t)
	cmd := exec.CommandContext(t.Context(), "alps", args...)
	cmd.Env = append(os.Environ(), envAddr+"="+c.Address(), envToken+"="+token, envCACert+"="+c.CACert())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inside, inside, inside
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = inside.Close()
	id = runningJob(t, c, mark)
	press(t, terminal, "\x03")

	var out bytes.Buffer
	buf := make([]byte, 1024)
	for answered := answer == ""; ; {
		n, err := terminal.Read(buf)
		out.Write(buf[:n])
		if !answered && strings.Contains(out.String(), "[y/N]") {
			press(t, terminal, answer)
			answered = true
		}
		// A terminal that nobody has open any more answers EIO.
		if err != nil {
			if !errors.Is(err, unix.EIO) && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
	}
	_ = cmd.Wait() // the exit code is looked at below.
	return out.String(), cmd.ProcessState.ExitCode(), id
}

func press(t *testing.T, terminal *os.File, keys string) {
	t.Helper()
	if _, err := terminal.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// runningJob waits until the job whose title holds mark runs on three nodes.
func runningJob(t *testing.T, c *dev.Cluster, mark string) mesh.JobID {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		list, err := c.Client().Jobs(t.Context(), v1.JobFilter{Open: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range list.Jobs {
			if strings.Contains(j.Title, mark) {
				awaitJob(t, c, j.ID, "running on three", func(j v1.Job) bool { return j.Counts[mesh.Running] == 3 })
				return j.ID
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the job was not submitted in 30 s")
	return ""
}

// openTerminal returns the two ends of a pseudo-terminal.
func openTerminal(t *testing.T) (outside, inside *os.File) {
	t.Helper()
	outside, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outside.Close() })
	fd := int(outside.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return outside, inside
}
