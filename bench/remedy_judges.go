package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	judgeRuns   = 20 // of each question, after one that is not counted.
	recordedNN  = "checks/hdfs/jmxtest/recorded/namenode-well.json"
	recordedKey = "dn1:29861" // a DataNode in it.
)

// judgeSizes are how many DataNodes the NameNode that is asked speaks of.
func judgeSizes() []int { return []int{4, 20, 100} }

// inquiry is one question to what the pack runs on a NameNode.
type inquiry struct {
	probe string
	state string // of the first DataNode.
	args  []string
	proof string
	runs  int
	walls []time.Duration
	cpu   time.Duration
	bytes int64
	asked int64
}

func inquiries() []*inquiry {
	first := "datanode=" + nameOf(0)
	return []*inquiry{
		{probe: "hdfs.datanodes", state: "In Service", proof: "passing", runs: judgeRuns},
		{probe: "hdfs.may-leave", state: "In Service", args: []string{first}, proof: `"verdict":"ok"`, runs: judgeRuns},
		// It waits two seconds between two looks.
		{probe: "hdfs.proven", state: "Decommissioned", args: []string{first, "want=decommissioned"}, proof: `"verdict":"ok"`, runs: 3},
	}
}

// benchJudges asks what the pack asks of a NameNode, of one that was recorded
// and speaks of more and more DataNodes.
func benchJudges(ctx context.Context, e env) error {
	e.printf("one run as a process of its own, of a NameNode with so many DataNodes\n")
	e.printf("%-26s %10s %22s %8s %9s %9s\n", "", "DataNodes", "wall ms (range)", "CPU ms", "requests", "KB read")
	floor := &inquiry{probe: "the process alone", runs: judgeRuns}
	if err := floor.ask(ctx, e, "version"); err != nil {
		return err
	}
	floor.print(e, 0)
	for _, n := range judgeSizes() {
		for _, q := range inquiries() {
			if err := q.measure(ctx, e, n); err != nil {
				return fmt.Errorf("%s with %d DataNodes: %w", q.probe, n, err)
			}
			q.print(e, n)
		}
	}
	e.printf("  load at the end %s\n", load())
	return nil
}

// measure asks a NameNode of n DataNodes.
func (q *inquiry) measure(ctx context.Context, e env, n int) error {
	answers, err := recordedOf(n, q.state)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var bytes, asked atomic.Int64
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Query().Get("qry")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		asked.Add(1)
		bytes.Add(int64(len(body)))
		_, _ = w.Write(body) // who asks says so.
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Close.
	}()
	defer func() {
		_ = server.Close()
		<-done
	}()
	conf, err := os.MkdirTemp("", "alps-bench-conf-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(conf) }() // temporary.
	text := fmt.Sprintf(`<configuration>
<property><name>dfs.namenode.rpc-address</name><value>127.0.0.1:8020</value></property>
<property><name>dfs.namenode.http-address</name><value>%s</value></property>
<property><name>dfs.replication</name><value>3</value></property>
</configuration>
`, l.Addr())
	if err := os.WriteFile(filepath.Join(conf, "hdfs-site.xml"), []byte(text), 0o600); err != nil {
		return err
	}
	err = q.ask(ctx, e, append([]string{"probe", q.probe, "conf=" + conf}, q.args...)...)
	runs := int64(q.runs + 1)
	q.bytes, q.asked = bytes.Load()/runs, asked.Load()/runs
	return err
}

// ask runs alps so many times, and once before that is not counted.
func (q *inquiry) ask(ctx context.Context, e env, args ...string) error {
	for i := range q.runs + 1 {
		cmd := exec.CommandContext(ctx, e.alps, args...)
		began := time.Now()
		out, err := cmd.CombinedOutput()
		wall := time.Since(began)
		if err == nil && !strings.Contains(string(out), q.proof) {
			err = errors.New("it does not agree")
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if i > 0 {
			q.walls = append(q.walls, wall)
			q.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
	}
	return nil
}

func (q *inquiry) print(e env, n int) {
	wall := fmt.Sprintf("%.1f (%.1f-%.1f)", ms(median(q.walls)), ms(slices.Min(q.walls)), ms(slices.Max(q.walls)))
	e.printf("%-26s %10d %22s %8.1f %9d %9.1f\n", q.probe, n, wall, ms(q.cpu/time.Duration(q.runs)), q.asked, float64(q.bytes)/1024)
}

func nameOf(i int) string { return fmt.Sprintf("bj-e-hadoop01-%d-%d:9866", 10+i/20, 200+i%20) }

// recordedOf is what the recorded NameNode would say if it had n DataNodes, each
// like one that it has, by the names of its beans. The first one is in the given
// state.
func recordedOf(n int, state string) (map[string][]byte, error) {
	b, err := os.ReadFile(filepath.FromSlash(recordedNN))
	if err != nil {
		return nil, err
	}
	var said struct{ Beans []map[string]any }
	if err := json.Unmarshal(b, &said); err != nil {
		return nil, err
	}
	out := make(map[string][]byte)
	for _, bean := range said.Beans {
		name, _ := bean["name"].(string)
		if text, ok := bean["LiveNodes"].(string); ok {
			if bean["LiveNodes"], err = multiply(text, n, state); err != nil {
				return nil, err
			}
		}
		if _, ok := bean["NumLiveDataNodes"]; ok {
			bean["NumLiveDataNodes"], bean["NumInServiceLiveDataNodes"] = n, n
		}
		if out[name], err = json.MarshalIndent(map[string]any{"beans": []any{bean}}, "", "  "); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// multiply makes n of one of the live DataNodes.
func multiply(text string, n int, state string) (string, error) {
	var live map[string]map[string]any
	if err := json.Unmarshal([]byte(text), &live); err != nil {
		return "", err
	}
	one, ok := live[recordedKey]
	if !ok {
		return "", fmt.Errorf("%s has no DataNode %s", recordedNN, recordedKey)
	}
	many := make(map[string]map[string]any, n)
	for i := range n {
		node := maps.Clone(one)
		node["xferaddr"], node["infoAddr"] = fmt.Sprintf("10.77.%d.%d:9866", i/200, i%200), fmt.Sprintf("10.77.%d.%d:9864", i/200, i%200)
		if i == 0 {
			node["adminState"] = state
		}
		many[nameOf(i)] = node
	}
	b, err := json.Marshal(many)
	return string(b), err
}
