package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"alps/mesh"
)

const (
	// exitRefused is the status of a command that does not want the message at
	// all: EX_DATAERR of sysexits.h.
	exitRefused = 65
	// commandGrace lies between TERM and KILL, and after the command's end
	// before nobody listens to its children any more.
	commandGrace = 2 * time.Second
	// maxWords bounds what is kept of a command's output.
	maxWords = 512
)

// command is the Sender of a receiver with a command.
type command struct{ argv []string }

// Send implements Sender.
func (c *command) Send(ctx context.Context, m Message) error {
	doc := m.Document()
	body, err := json.Marshal(doc)
	if err != nil {
		return Refuse(fmt.Errorf("encode the message: %w", err))
	}
	var out tail
	// Its end is ours to bring about: the context would kill one process only.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), c.argv[0], c.argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(body), &out, &out
	cmd.Env = environment(&m, &doc)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = commandGrace // when somebody outside of the group holds our pipes.
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", c.argv[0], err)
	}
	timedOut := supervise(ctx, cmd.Process.Pid)
	err = cmd.Wait()
	if timedOut {
		return fmt.Errorf("run %s: it took too long and was ended", c.argv[0])
	}
	return c.judge(err, out.text())
}

// supervise returns when a child has ended and before it is reaped, so that
// its number is still the name of its group. When ctx ends, so does the whole
// group: TERM, grace, KILL.
func supervise(ctx context.Context, pid int) (timedOut bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	select {
	case <-ended:
		return false
	case <-ctx.Done():
	}
	_ = unix.Kill(-pid, unix.SIGTERM) // not reaped yet, so it is ours.
	grace := time.NewTimer(commandGrace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	<-ended
	return true
}

func (c *command) judge(err error, words string) error {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil // it has ended well; what it left behind is its own.
	}
	if words != "" {
		words = ": " + words
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("run %s: %s%s", c.argv[0], e.ProcessState, words)
		if e.ExitCode() == exitRefused {
			return Refuse(err)
		}
		return err
	}
	return fmt.Errorf("run %s: %w", c.argv[0], err)
}

func environment(m *Message, d *Document) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for _, kv := range [][2]string{
		{"STATUS", d.Status},
		{"KIND", string(d.Kind)},
		{"TEXT", d.Text},
		{"INCIDENT", d.Incident},
		{"DELIVERY", m.ID},
		{"RULE", d.Rule},
		{"SEVERITY", d.Severity},
		{"SUMMARY", d.Summary},
		{"DC", d.DC},
		{"NODE", d.Node},
		{"CHECK", d.Check},
		{"SERVICE", d.Service},
		{"URL", d.URL},
	} {
		env = append(env, "ALPS_"+kv[0]+"="+strings.ReplaceAll(kv[1], "\x00", ""))
	}
	return env
}

// tail keeps the last words that a command says.
type tail struct{ buf []byte }

// Write never fails: a command that says much is not ended for it.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	p = p[max(0, len(p)-maxWords):]
	if over := len(t.buf) + len(p) - maxWords; over > 0 {
		t.buf = t.buf[over:]
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

func (t *tail) text() string {
	return strings.TrimSpace(strings.ToValidUTF8(string(t.buf), "?"))
}

// newSender makes the Sender of a receiver.
func (e *Engine) newSender(r mesh.Receiver) (Sender, error) {
	switch {
	case r.URL != "" && len(r.Command) == 0:
		return newWebhook(r, e.transport)
	case r.URL == "" && len(r.Command) > 0 && r.Command[0] != "":
		return &command{argv: r.Command}, nil
	}
	return nil, errors.New("it needs either a url or a command")
}
