package judge

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"alps/checks/hdfs/site"
)

// Limits of a canary.
const (
	maxCopies  = 20 // DataNodes; in a larger cluster others write soon enough.
	maxFiles   = 64
	writeTime  = 20 * time.Second
	removeTime = 10 * time.Second
	maxSaid    = 8 << 10
)

// canary is small files in HDFS, with a copy on every DataNode: a DataNode
// takes its directories in turn, so that each gets one.
type canary struct {
	program string
	conf    string
	dir     string // in HDFS.
	said    string // by the program, when it did not like it.
	files   int
}

// release writes the files. That a write fails is no error here: the disk that
// is meant fails it.
func (j *judge) release(ctx context.Context, m *matter, live int) (*canary, error) {
	if live > maxCopies {
		return nil, fmt.Errorf("it has %d DataNodes, and a file with a copy on each is too much above %d", live, maxCopies)
	}
	if _, err := exec.LookPath(j.Program); err != nil {
		return nil, fmt.Errorf("there is no program %s in PATH", j.Program)
	}
	local, err := os.MkdirTemp("", "alps-canary-")
	if err != nil {
		return nil, fmt.Errorf("make files to write: %w", err)
	}
	defer os.RemoveAll(local) //nolint:errcheck // small files below /tmp.
	c := &canary{program: j.Program, conf: m.site.Dir, dir: "/tmp/alps-canary-" + strings.ToLower(rand.Text())}
	c.files = min(maxFiles, 4*m.dirs)
	for i := range c.files {
		if err := os.WriteFile(filepath.Join(local, strconv.Itoa(i)), []byte("canary\n"), 0o600); err != nil {
			return nil, fmt.Errorf("make files to write: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	// The directory as a whole: each call is a JVM, and takes a second. The one
	// that it lies in is nearly always there.
	put := []string{
		"-D", "dfs.replication=" + strconv.Itoa(max(1, live)),
		"-D", "dfs.client.block.write.replace-datanode-on-failure.policy=NEVER", "-put", local, c.dir,
	}
	if err = c.run(ctx, put...); err == nil {
		return c, nil
	}
	if err := c.run(ctx, "-mkdir", "-p", path.Dir(c.dir)); err != nil {
		return nil, err
	}
	if err := c.run(ctx, put...); err != nil {
		c.said = err.Error()
	}
	return c, nil
}

// told is what an answer says of the canary.
func (c *canary) told() string {
	text := fmt.Sprintf("%d files in %s", c.files, c.dir)
	if c.said != "" {
		text += "; " + c.said
	}
	return text
}

// remove takes the files away, also when ctx has ended.
func (c *canary) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	// Files of a few bytes that stay are told in the evidence, by their name.
	_ = c.run(ctx, "-rm", "-r", "-f", "-skipTrash", c.dir)
}

// run runs `hdfs dfs`.
func (c *canary) run(ctx context.Context, args ...string) error {
	bounds := []string{"dfs", "-D", "ipc.client.connect.max.retries=1", "-D", "ipc.client.connect.timeout=5000", "-D", "dfs.client.failover.max.attempts=2"}
	// Generic options come first and only once, before the verb.
	for len(args) > 1 && args[0] == "-D" {
		bounds, args = append(bounds, args[:2]...), args[2:]
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, c.program, append(bounds, args...)...)
	cmd.Env = append(os.Environ(), site.EnvDir+"="+c.conf)
	cmd.Stdout, cmd.Stderr = &out, &out
	// The program is a shell script above a JVM: both have to end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("hdfs dfs took too long")
	default:
		return fmt.Errorf("hdfs dfs: %w: %s", err, lastLine(out.Bytes()))
	}
}

// lastLine is the end of what a program has said.
func lastLine(out []byte) string {
	if len(out) > maxSaid {
		out = out[len(out)-maxSaid:]
	}
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(out), "?")), "\n")
	return lines[len(lines)-1]
}
