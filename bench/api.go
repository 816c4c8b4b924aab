package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

const (
	apiCalls      = 10 // of each question, after one that is not counted.
	checksOfANode = 5
	registerers   = 16 // requests to Consul at a time.
)

// apiSizes are the nodes that the catalog holds when lists are asked for.
func apiSizes() []int { return []int{1000, 5000} }

// benchAPI registers nodes by hand with Consul, and asks the ALPS server and
// Consul for what their pages show.
func benchAPI(ctx context.Context, e env) error {
	c, err := startCluster(ctx, e, 1)
	if err != nil {
		return err
	}
	defer c.close()
	r := &apiRun{env: e, c: c, consul: "http://" + c.getenv("CONSUL_HTTP_ADDR")}
	if err := r.connect(); err != nil {
		return err
	}
	defer r.close()
	e.printf("%-40s %6s %20s %8s %9s %9s\n", "question", "nodes", "wall ms (range)", "CPU ms", "MB", "MB gzip")
	have := 0
	for _, n := range apiSizes() {
		if err := r.register(ctx, have, n); err != nil {
			return err
		}
		have = n
		if err := r.restart(ctx, n); err != nil {
			return err
		}
		if err := r.compare(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// apiRun is one run of the api benchmark.
type apiRun struct {
	env
	c      *cluster
	consul string
	web    *http.Client // trusts the cluster's CA.
	api    *client.Client
	server *exec.Cmd // the ALPS server once it was started again.
}

func (r *apiRun) connect() error {
	pem, err := os.ReadFile(r.c.getenv("ALPS_CACERT"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	// What is asked for decides whether an answer is compressed, not Go.
	r.web = &http.Client{Transport: &http.Transport{
		DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
	}}
	r.api, err = r.c.client()
	return err
}

func (r *apiRun) close() {
	r.web.CloseIdleConnections()
	r.api.Close()
	endDaemon(r.server)
}

// register puts the nodes from one number to another into Consul's catalog,
// one in fifty with a check that is critical.
func (r *apiRun) register(ctx context.Context, from, to int) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(registerers)
	for i := from; i < to; i++ {
		g.Go(func() error {
			type check struct{ Node, CheckID, Name, Status, Output string }
			name := fmt.Sprintf("bj-e-hadoop%02d-%d-%d", i/2500, i/250, i%250)
			list := make([]check, checksOfANode)
			for j := range list {
				list[j] = check{name, fmt.Sprintf("check-%d", j), fmt.Sprintf("Check %d", j), string(mesh.HealthPassing), strings.Repeat("all is well ", 8)}
			}
			if i%50 == 0 {
				list[0].Status = string(mesh.HealthCritical)
			}
			body, err := json.Marshal(map[string]any{
				"Node": name, "Address": fmt.Sprintf("10.17.%d.%d", i/250, i%250), "NodeMeta": map[string]string{"external-node": "true"}, "Checks": list,
			})
			if err != nil {
				return err
			}
			return put(gctx, r.consul+"/v1/catalog/register", string(body))
		})
	}
	return g.Wait()
}

// restart starts the server again, so that it reads all of the catalog at
// once, and waits until it knows every node and check.
func (r *apiRun) restart(ctx context.Context, nodes int) error {
	config := filepath.Join(r.c.dir, "server", "server.hcl")
	var err error
	if r.server == nil {
		r.server, err = r.c.restart(ctx, r.alps, "server", config)
	} else {
		endDaemon(r.server)
		r.server, err = startDaemon(ctx, r.alps, "server", config)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*loopPatience)
	defer cancel()
	last := errors.New("it was not asked")
	for ctx.Err() == nil {
		if last = r.knows(ctx, nodes); last == nil {
			return sleep(ctx, 2*time.Second) // what comes with a start is over.
		}
		_ = sleep(ctx, 100*time.Millisecond) // the loop sees that ctx has ended.
	}
	return fmt.Errorf("wait until the server knows %d nodes: %w", nodes, last)
}

func (r *apiRun) knows(ctx context.Context, nodes int) error {
	n, err := r.api.Nodes(ctx, v1.NodeFilter{Limit: 1})
	if err != nil {
		return err
	}
	c, err := r.api.Checks(ctx, v1.CheckFilter{Limit: 1})
	if err != nil {
		return err
	}
	if n.Total < nodes || c.Total < nodes*checksOfANode {
		return fmt.Errorf("it knows %d nodes and %d checks", n.Total, c.Total)
	}
	return nil
}

// question is one request that is made again and again.
type question struct {
	name  string
	url   string
	alps  bool
	pid   int
	walls []time.Duration
	cpu   time.Duration
	bytes [2]int64 // plain, and when gzip is taken.
}

func (r *apiRun) compare(ctx context.Context, nodes int) error {
	consul, err := r.c.pids("consul/bj-e-admin03/")
	if err != nil {
		return err
	}
	alps := r.server.Process.Pid
	base := "https://" + r.c.getenv("ALPS_ADDR")
	all := []*question{
		{name: "alps: a page of 1,000 nodes", url: base + "/v1/nodes?limit=1000", alps: true, pid: alps},
		{name: "alps: all nodes with their checks", url: base + "/v1/nodes?limit=10000", alps: true, pid: alps},
		{name: "alps: nodes that are not well", url: base + "/v1/nodes?limit=1000&q=" + url.QueryEscape("status!=passing"), alps: true, pid: alps},
		{name: "alps: 10,000 checks, or all", url: base + "/v1/checks?limit=10000", alps: true, pid: alps},
		{name: "alps: checks that are critical", url: base + "/v1/checks?status=critical&limit=10000", alps: true, pid: alps},
		{name: "consul: all nodes with their checks", url: r.consul + "/v1/internal/ui/nodes", pid: consul[0]},
		{name: "consul: all checks", url: r.consul + "/v1/health/state/any", pid: consul[0]},
		{name: "consul: checks that are critical", url: r.consul + "/v1/health/state/critical", pid: consul[0]},
	}
	for i := range apiCalls + 1 {
		for _, q := range all {
			if err := r.ask(ctx, q, i > 0); err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
		}
	}
	for _, q := range all {
		wall := fmt.Sprintf("%.1f (%.1f-%.1f)", ms(median(q.walls)), ms(slices.Min(q.walls)), ms(slices.Max(q.walls)))
		r.printf("%-40s %6d %20s %8.1f %9.2f %9.2f\n", q.name, nodes, wall, ms(q.cpu/apiCalls), mib(int(q.bytes[0])), mib(int(q.bytes[1])))
	}
	for _, k := range []struct {
		name string
		pid  int
	}{{"alps server", alps}, {"consul server", consul[0]}} {
		m, err := memoryOf(k.pid)
		if err != nil {
			return err
		}
		r.printf("  %s: %.1f MB anonymous, %.1f MB RSS\n", k.name, mib(m.anonymous), mib(m.resident))
	}
	r.printf("  all nodes, alps / consul: wall %.2f, CPU %.2f (load %s)\n",
		median(all[1].walls).Seconds()/median(all[5].walls).Seconds(), all[1].cpu.Seconds()/all[5].cpu.Seconds(), load())
	return nil
}

// ask asks once plainly, which is measured, and once with gzip allowed, for
// the size alone.
func (r *apiRun) ask(ctx context.Context, q *question, counts bool) error {
	cpu, began := cpuOf(q.pid), time.Now()
	n, err := r.fetch(ctx, q, "identity")
	if err != nil {
		return err
	}
	if counts {
		q.walls = append(q.walls, time.Since(began))
		q.cpu += cpuOf(q.pid) - cpu
		return nil
	}
	q.bytes[0] = n
	q.bytes[1], err = r.fetch(ctx, q, "gzip")
	return err
}

// fetch reads an answer to its end and returns its size on the wire.
func (r *apiRun) fetch(ctx context.Context, q *question, encoding string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url, http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept-Encoding", encoding)
	if q.alps {
		req.Header.Set("Authorization", "Bearer "+r.c.getenv("ALPS_TOKEN"))
	}
	res, err := r.web.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return n, err
}
