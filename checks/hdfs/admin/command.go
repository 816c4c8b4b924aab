package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"alps/checks/hdfs/site"
	"alps/mesh"
)

// maxOutput bounds what is kept of a program's output. Its end is what counts.
const maxOutput = 16 << 10

// dfsadmin runs Hadoop's own program. A call costs about a second.
type dfsadmin struct {
	program string
	conf    string
	timeout time.Duration
}

// installed says what is missing where there is no program.
func (d dfsadmin) installed() error {
	if _, err := exec.LookPath(d.program); err != nil {
		return mesh.Errorf(mesh.NotFound, "find Hadoop's program %s: it is not in PATH (%s)", d.program, os.Getenv("PATH"))
	}
	return nil
}

// bounded are the settings by which a call to a process that hangs ends: Hadoop
// would try for minutes.
func bounded() []string {
	return []string{"-D", "ipc.client.rpc-timeout.ms=5000", "-D", "ipc.client.connect.timeout=5000", "-D", "ipc.client.connect.max.retries=1", "-D", "dfs.client.failover.max.attempts=1"}
}

// refresh is the command that has one NameNode read its host files, and no
// other one.
func (d dfsadmin) refresh(nn site.NameNode) []string {
	return d.command("-fs", "hdfs://"+nn.RPC, "-refreshNodes")
}

// reconfig is the command that has a DataNode read its hdfs-site.xml, or says
// how that went.
func (d dfsadmin) reconfig(ipc, what string) []string {
	return d.command("-reconfig", "datanode", ipc, what)
}

func (d dfsadmin) command(args ...string) []string {
	return append(append([]string{d.program, "dfsadmin"}, bounded()...), args...)
}

// output is how a call has ended.
type output struct {
	text string // of both streams.
	code int    // -1: it was ended.
}

// run runs a command. The error says that it could not be run, or that it had
// to be ended; an exit code other than 0 is none.
func (d dfsadmin) run(ctx context.Context, command []string) (output, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), site.EnvDir+"="+d.conf)
	// The program is a shell script above a JVM: both have to end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var kept tail
	cmd.Stdout, cmd.Stderr = &kept, &kept
	err := cmd.Run()
	out := output{strings.ToValidUTF8(kept.String(), "?"), -1}
	if cmd.ProcessState != nil {
		out.code = cmd.ProcessState.ExitCode()
	}
	if ctx.Err() != nil {
		return out, fmt.Errorf("%s: it did not end within %s", strings.Join(command[:2], " "), d.timeout)
	}
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = nil
	}
	return out, err
}

// tail keeps the end of what is written to it.
type tail struct{ b bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if over := t.b.Len() - maxOutput; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

// String is what was kept, without the lines of the JVM and of log4j.
func (t *tail) String() string {
	var kept []string
	for l := range strings.Lines(t.b.String()) {
		if !strings.HasPrefix(l, "log4j:") && !strings.HasPrefix(l, "SLF4J:") && strings.TrimSpace(l) != "" {
			kept = append(kept, strings.TrimRight(l, "\r\n"))
		}
	}
	return strings.Join(kept, "\n")
}

// Local finds the NameNode that runs on this node: the only one, or that of
// dfs.ha.namenode.id, or the one whose address is this machine's.
func Local(ctx context.Context, s *site.Site) (site.NameNode, error) {
	all, err := s.NameNodes()
	if err != nil {
		return site.NameNode{}, err
	}
	id, service := s.Get("dfs.ha.namenode.id"), s.Get("dfs.nameservice.id")
	var named, own []site.NameNode
	for _, n := range all {
		if (id == "" || n.ID == id) && (service == "" || n.Service == service) {
			named = append(named, n)
		}
	}
	if len(named) == 1 {
		return named[0], nil
	}
	for _, n := range named {
		if ours(ctx, n.RPC) {
			own = append(own, n)
		}
	}
	if len(own) == 1 {
		return own[0], nil
	}
	return site.NameNode{}, mesh.Errorf(mesh.NotFound, "find the NameNode of this node: %d of the %d in %s may be it", len(own), len(all), s.Dir).
		WithHint("set dfs.ha.namenode.id, and dfs.nameservice.id, in the hdfs-site.xml of each NameNode")
}

// ours reports whether an address is one of this machine.
func ours(ctx context.Context, address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return false
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, ip := range ips {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip.IP) {
				return true
			}
		}
	}
	return false
}
