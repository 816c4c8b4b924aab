package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"alps/server/api/client"
)

// cluster is an `alps dev` of our own, apart from one that a user may run.
type cluster struct {
	cmd    *exec.Cmd
	exited chan struct{}
	dir    string
	env    []string // of a shell that has read the env file.
}

// subnet is where it stands.
const subnet = "127.0.12"

// startCluster starts one with the given number of nodes and waits for it.
func startCluster(ctx context.Context, e env, nodes int) (*cluster, error) {
	return startDev(ctx, e, "--nodes", strconv.Itoa(nodes))
}

// startDev starts one with these arguments of `alps dev` and waits for it.
func startDev(ctx context.Context, e env, args ...string) (*cluster, error) {
	dir, err := os.MkdirTemp("", "alps-bench-*")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: filepath.Join(dir, "dev"), exited: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, e.alps, append([]string{"dev", "--dir", c.dir, "--subnet", subnet}, args...)...)
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) }
	c.cmd.WaitDelay = 30 * time.Second
	// Nobody is favoured: without this `alps dev` runs Consul with a smaller
	// heap, which costs it time.
	c.cmd.Env = append(os.Environ(), "GOGC=100")
	log, err := os.Create(filepath.Join(dir, "dev.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.exited)
		_ = c.cmd.Wait() // its log says more than its exit code.
	}()
	for {
		select {
		case <-c.exited:
			text, err := os.ReadFile(log.Name())
			return nil, errors.Join(fmt.Errorf("alps dev ended:\n%s", text), err, os.RemoveAll(dir))
		case <-time.After(100 * time.Millisecond):
		}
		if c.env, err = readEnv(filepath.Join(c.dir, "env")); err == nil {
			return c, nil
		}
	}
}

// close ends everything that was started.
func (c *cluster) close() {
	_ = c.cmd.Process.Signal(os.Interrupt) // it may have ended.
	<-c.exited
	_ = os.RemoveAll(filepath.Dir(c.dir)) // what stays is in a temporary directory.
}

// readEnv reads `export K='V'` lines into an environment.
func readEnv(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	env := os.Environ()
	for s := bufio.NewScanner(f); s.Scan(); {
		if kv, ok := strings.CutPrefix(s.Text(), "export "); ok && !strings.HasPrefix(kv, "PATH=") {
			k, v, _ := strings.Cut(kv, "=")
			env = append(env, k+"="+strings.Trim(v, "'"))
		}
	}
	return env, nil
}

func (c *cluster) getenv(key string) string {
	for _, kv := range c.env {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return v
		}
	}
	return ""
}

// client speaks to the server as an admin.
func (c *cluster) client() (*client.Client, error) {
	return client.New(client.Options{Address: c.getenv("ALPS_ADDR"), Token: c.getenv("ALPS_TOKEN"), CAFile: c.getenv("ALPS_CACERT")})
}

// restart ends the daemon of a configuration and starts it again as a child of
// ours, which must be ended before the cluster is closed.
func (c *cluster) restart(ctx context.Context, alps, verb, config string) (*exec.Cmd, error) {
	pids, err := c.pids(verb + " --config " + config)
	if err != nil {
		return nil, err
	}
	if err := syscall.Kill(pids[0], syscall.SIGTERM); err != nil {
		return nil, err
	}
	for syscall.Kill(pids[0], 0) == nil { // `alps dev` reaps it.
		if err := sleep(ctx, loopEvery); err != nil {
			return nil, err
		}
	}
	return startDaemon(ctx, alps, verb, config)
}

// startDaemon starts the daemon of a configuration, with a log beside it.
func startDaemon(ctx context.Context, alps, verb, config string) (*exec.Cmd, error) {
	dir := filepath.Dir(config)
	log, err := os.Create(filepath.Join(dir, "again.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, alps, verb, "--config", config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	return cmd, cmd.Start()
}

// endDaemon ends what restart or startDaemon has started; nil is nothing.
func endDaemon(cmd *exec.Cmd) {
	if cmd != nil && cmd.Process != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended.
		_ = cmd.Wait()
	}
}

// sample is what one command cost and said.
type sample struct {
	wall time.Duration
	cpu  time.Duration // user and system, of it and what it reaped.
	out  string
}

// runIn runs a command in the cluster's environment.
func (c *cluster) runIn(ctx context.Context, name string, args ...string) (sample, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = c.env
	began := time.Now()
	out, err := cmd.CombinedOutput()
	s := sample{wall: time.Since(began), out: string(out)}
	if cmd.ProcessState != nil {
		s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		return s, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return s, nil
}

// raftIndex is the last entry in Consul's log.
func (c *cluster) raftIndex(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.getenv("CONSUL_HTTP_ADDR")+"/v1/agent/self", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var self struct {
		Stats struct {
			Raft struct {
				Last string `json:"last_log_index"`
			} `json:"raft"`
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&self); err != nil {
		return 0, err
	}
	return strconv.Atoi(self.Stats.Raft.Last)
}

// pids finds the processes of the cluster whose command line holds a text.
func (c *cluster) pids(text string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		line := strings.ReplaceAll(string(b), "\x00", " ")
		if err == nil && strings.Contains(line, c.dir) && strings.Contains(line, text) {
			out = append(out, pid)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no process of the cluster runs " + text)
	}
	return out, nil
}
