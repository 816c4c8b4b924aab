package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The programs of the peer, as Debian calls them.
const (
	promTool  = "prometheus"
	alertTool = "prometheus-alertmanager"
)

func installed(tool string) bool {
	_, err := exec.LookPath(tool)
	return err == nil
}

// peer is a Prometheus and an Alertmanager, tuned to their fastest: they look
// every second, and wait for nobody before they tell.
type peer struct {
	dir         string
	prom, alert *exec.Cmd
}

const promConfig = `global:
  scrape_interval: 1s
  scrape_timeout: 500ms
  evaluation_interval: 1s
rule_files: [DIR/rules.yml]
alerting:
  alertmanagers:
    - static_configs: [{targets: [ALERT]}]
scrape_configs:
  - job_name: shop
    static_configs: [{targets: [TARGETS]}]
`

const promRules = `groups:
  - name: shop
    rules:
      - alert: ShopDown
        expr: up{job="shop"} == 0
`

const alertConfig = `route:
  receiver: hook
  group_by: [alertname, instance]
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: hook
    webhook_configs: [{url: "HOOK", send_resolved: true}]
`

// startPeer starts both and returns when both say that they are ready.
func startPeer(ctx context.Context, shops []*shop, hook string) (*peer, error) {
	dir, err := os.MkdirTemp("", "alps-bench-peer-*")
	if err != nil {
		return nil, err
	}
	p := &peer{dir: dir}
	if err := p.start(ctx, shops, hook); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *peer) start(ctx context.Context, shops []*shop, hook string) error {
	var addrs [2]string
	for i := range addrs {
		var err error
		if addrs[i], err = freeAddr(ctx); err != nil {
			return err
		}
	}
	var targets []string
	for _, s := range shops {
		targets = append(targets, strconv.Quote(s.instance()))
	}
	fill := strings.NewReplacer("DIR", p.dir, "ALERT", strconv.Quote(addrs[1]), "TARGETS", strings.Join(targets, ", "), "HOOK", hook)
	for name, text := range map[string]string{"prom.yml": promConfig, "rules.yml": promRules, "alert.yml": alertConfig} {
		if err := os.WriteFile(p.path(name), []byte(fill.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	var err error
	if p.alert, err = p.run(ctx, alertTool, "--config.file="+p.path("alert.yml"), "--storage.path="+p.path("alert"),
		"--web.listen-address="+addrs[1], "--cluster.listen-address="); err != nil {
		return err
	}
	if p.prom, err = p.run(ctx, promTool, "--config.file="+p.path("prom.yml"), "--storage.tsdb.path="+p.path("prom"),
		"--web.listen-address="+addrs[0]); err != nil {
		return err
	}
	for _, addr := range addrs {
		if err := ready(ctx, "http://"+addr+"/-/ready"); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) path(name string) string { return filepath.Join(p.dir, name) }

// run starts a program with a log of its own.
func (p *peer) run(ctx context.Context, tool string, args ...string) (*exec.Cmd, error) {
	log, err := os.Create(p.path(tool + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	return cmd, cmd.Start()
}

func (p *peer) close() {
	for _, cmd := range []*exec.Cmd{p.prom, p.alert} {
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Signal(os.Interrupt) // it may have ended.
			_ = cmd.Wait()
		}
	}
	_ = os.RemoveAll(p.dir) // temporary.
}

// freeAddr is a loopback address that nobody has at the moment: these programs
// do not say which port they were given.
func freeAddr(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready waits until a URL answers 200.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, loopPatience)
	defer cancel()
	last := errors.New("it was not asked")
	for ctx.Err() == nil {
		if last = ask(ctx, url); last == nil {
			return nil
		}
		_ = sleep(ctx, 50*time.Millisecond) // the loop sees that ctx has ended.
	}
	return fmt.Errorf("wait for %s: %w", url, last)
}

func ask(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}
