package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"alps/mesh/jvm"
	"alps/mesh/proc"
)

// cliTimeout bounds a command that its caller does not bound: clients try again
// for minutes when a NameNode hangs.
const cliTimeout = 2 * time.Minute

// maxSaid is how much of a command's output is kept.
const maxSaid = 4 << 20

// clientHeap is that of a command, in MiB.
const clientHeap = 96

// wrapper is the command hdfs of a node.
func (c *Cluster) wrapper(n *Node) string {
	p := jvm.Program{
		Java: c.java, Jars: c.o.Jars, Main: "MAIN", Heap: clientHeap, Classpath: []string{"CONF"}, Hosts: c.hostsFile(),
	}
	words := p.Command()
	for i, w := range words {
		words[i] = strings.NewReplacer("'CONF:", `"$conf":'`, "'MAIN'", `"$main"`).Replace(quote(w))
	}
	return fmt.Sprintf(`#!/bin/sh
# The command hdfs of the node %[1]s.
conf=${HADOOP_CONF_DIR:-%[2]s}
if [ "${1:-}" = --config ]; then
	conf=$2
	shift 2
fi
case ${1:-} in
dfs) main=org.apache.hadoop.fs.FsShell ;;
dfsadmin) main=org.apache.hadoop.hdfs.tools.DFSAdmin ;;
haadmin) main=org.apache.hadoop.hdfs.tools.DFSHAAdmin ;;
fsck) main=org.apache.hadoop.hdfs.tools.DFSck ;;
getconf) main=org.apache.hadoop.hdfs.tools.GetConf ;;
ec) main=org.apache.hadoop.hdfs.tools.ECAdmin ;;
*)
	echo "usage: hdfs [--config DIR] dfs|dfsadmin|haadmin|fsck|getconf|ec ARGUMENT..." >&2
	exit 1
	;;
esac
shift
exec %[3]s "$@"
`, n.Name, quote(n.ConfDir), strings.Join(words, " "))
}

// quote makes s one word for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// HDFS runs the command hdfs as the host of the first NameNode has it, and
// returns its standard output. A command that fails says so with the end of its
// standard error; the output is there all the same.
func (c *Cluster) HDFS(ctx context.Context, args ...string) ([]byte, error) {
	var out capped
	err := c.hdfsIO(ctx, nil, &out, args...)
	return out.Bytes(), err
}

// hdfsIO runs the command with this input and output.
func (c *Cluster) hdfsIO(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, cliTimeout)
	defer cancel()
	n := c.names[0]
	cmd := exec.CommandContext(ctx, filepath.Join(n.BinDir, "hdfs"), args...)
	var said capped
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &said
	cmd.Env = append(os.Environ(), "HADOOP_CONF_DIR="+n.ConfDir)
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return fmt.Errorf("hdfs %s: %w: %s", strings.Join(args, " "), err, said.tail())
	}
	return nil
}

// capped keeps the first of what is written to it.
type capped struct{ bytes.Buffer }

func (b *capped) Write(p []byte) (int, error) {
	_, _ = b.Buffer.Write(p[:min(len(p), max(0, maxSaid-b.Len()))]) // a buffer does not fail.
	return len(p), nil
}

func (b *capped) tail() string {
	const most = 2000
	s := strings.TrimSpace(b.String())
	return s[max(0, len(s)-most):]
}

// prepare runs a NameNode with arguments that make it do one thing and end.
func (c *Cluster) prepare(ctx context.Context, n *Node, args []string) error {
	words := n.program(n.mainClass(), args...).Command()
	log, err := os.OpenFile(n.LogPath(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", n.Name, err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run the NameNode %s with %s: %w; the end of %s:\n%s", n.Name, args[0], err, n.LogPath(), proc.Tail(n.LogPath(), 12))
	}
	return nil
}

// Put writes a file of so many whole blocks, or, when the name ends with a
// slash, a directory of so many files of one block each. The content depends on
// the name alone. It returns what Checksum must return as long as nothing is
// lost.
func (c *Cluster) Put(ctx context.Context, name string, blocks, replication int) (digest string, err error) {
	if up := path.Dir(strings.TrimSuffix(name, "/")); up != "/" {
		if _, err := c.HDFS(ctx, "dfs", "-mkdir", "-p", up); err != nil {
			return "", err
		}
	}
	seed := sha256.Sum256([]byte(name))
	all := io.LimitReader(rand.NewChaCha8(seed), int64(blocks)*c.o.BlockSize)
	sum := sha256.New()
	content := io.TeeReader(all, sum)
	args := []string{"dfs", "-D", "dfs.replication=" + strconv.Itoa(replication), "-put", "-f"}
	if !strings.HasSuffix(name, "/") {
		err = c.hdfsIO(ctx, content, io.Discard, append(args, "-", name)...)
	} else {
		var dir string
		if dir, err = c.writeFiles(content, blocks); err == nil {
			err = c.hdfsIO(ctx, nil, io.Discard, append(args, dir, strings.TrimSuffix(name, "/"))...)
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// writeFiles cuts content into local files of one block.
func (c *Cluster) writeFiles(content io.Reader, blocks int) (dir string, err error) {
	if dir, err = os.MkdirTemp(c.o.Dir, "put-*"); err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	block := make([]byte, c.o.BlockSize)
	for i := range blocks {
		_, err = io.ReadFull(content, block)
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d", i)), block, 0o600))
		if err != nil {
			return "", errors.Join(fmt.Errorf("write a file: %w", err), os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// Checksum reads what Put wrote under the same name, all of it, and returns its
// digest.
func (c *Cluster) Checksum(ctx context.Context, name string) (digest string, err error) {
	sum := sha256.New()
	if strings.HasSuffix(name, "/") {
		name += "*"
	}
	if err := c.hdfsIO(ctx, nil, sum, "dfs", "-cat", name); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// firstActive makes the first NameNode the active one.
func (c *Cluster) firstActive(ctx context.Context) error {
	for _, n := range c.names {
		if err := n.awaitIPC(ctx); err != nil {
			return err
		}
	}
	_, err := c.HDFS(ctx, "haadmin", "-transitionToActive", c.names[0].ID)
	return err
}

// Failover makes a NameNode the active one: in order when the one that is active
// answers, and otherwise by force.
func (c *Cluster) Failover(ctx context.Context, to *Node) error {
	from, err := c.Active(ctx)
	switch {
	case err == nil && from == to:
		return nil
	case err == nil:
		_, err = c.HDFS(ctx, "haadmin", "-failover", from.ID, to.ID)
	default:
		_, err = c.HDFS(ctx, "haadmin", "-transitionToActive", "--forceactive", to.ID)
	}
	return err
}
