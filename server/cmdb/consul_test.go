package cmdb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	"alps/server/cmdb"
	"alps/server/cmdb/cmdbtest"
)

// recorder stands between a CMDB and Consul and remembers what was asked.
type recorder struct {
	mu   sync.Mutex
	asks []*url.URL
}

// listen starts the recorder before the agent at addr and returns its own.
func (r *recorder) listen(t *testing.T, addr string) string {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	transport := &http.Transport{}
	proxy.Transport = transport
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.asks = append(r.asks, req.URL)
		r.mu.Unlock()
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close(); transport.CloseIdleConnections() })
	return srv.Listener.Addr().String()
}

// asked counts the requests under a path, and those of them that waited.
func (r *recorder) asked(path string) (all, blocking int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.asks {
		if strings.HasPrefix(u.Path, path) {
			all++
			if u.Query().Get("index") != "" {
				blocking++
			}
		}
	}
	return all, blocking
}

// realCMDB runs a CMDB on a real Consul, and returns the stand-ins of the rest.
func realCMDB(t *testing.T, addr string) (*cmdb.CMDB, *cmdbtest.Estate) {
	t.Helper()
	client, err := consul.New(consul.Options{Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	e := cmdbtest.New(dc)
	o := e.Options()
	feed := cmdb.FromConsul(client, dc)
	o.Source, o.Writer = feed, feed
	c := run(t, o)
	t.Cleanup(client.Close)
	return c, e
}

// eventually waits until ok says so, for as long as Consul may reasonably take
// on a busy machine.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	defer func() { t.Logf("%s after %v", what, time.Since(began).Round(time.Millisecond)) }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("within a minute: not %s", what)
}

func node(c *cmdb.CMDB, ref string) *mesh.Node {
	n, _ := c.Node(ref)
	return &n
}

func TestRealConsul(t *testing.T) {
	const server, first, second = "bj-e-admin03", "bj-e-hadoop01-11-203", "bj-e-hadoop01-11-204"
	estate := cluster.ForTest(t, cluster.Options{Datacenters: []cluster.Datacenter{
		{Name: dc, Nodes: []cluster.NodeSpec{{Name: server, Server: true}, {Name: first}, {Name: second}}},
		{Name: west, Nodes: []cluster.NodeSpec{{Name: "sh-w-admin01", Server: true}}},
	}})
	rec := &recorder{}
	c, parts := realCMDB(t, rec.listen(t, estate.Node(server).HTTPAddr()))
	eventually(t, "loaded", c.Ready)

	t.Run("members of both datacenters", func(t *testing.T) {
		want(t, "nodes", []mesh.NodeName{server, first, second, "sh-w-admin01"}, names(t, c, "all"))
		for ref, want := range map[string]string{server: "alive server", first: "alive client", "sh-w-admin01": "alive server"} {
			n := node(c, ref)
			if got := fmt.Sprintf("%s %s", n.Status, n.Type); got != want || n.Build == "" || n.Health() != mesh.HealthPassing {
				t.Errorf("%s is %s, build %q, health %s; want %s, some build, passing", ref, got, n.Build, n.Health(), want)
			}
		}
		want(t, "by service", []mesh.NodeName{server, "sh-w-admin01"}, names(t, c, "service=consul"))
		m, err := c.Snapshot().Members(dc)
		if err != nil || len(m) != 3 || m[0].Port != 8301 || m[0].Protocol == "" {
			t.Errorf("members = %+v, %v", m, err)
		}
	})
	t.Run("a check that fails and recovers", func(t *testing.T) { testCheck(t, c, estate.Node(first)) })
	t.Run("facts go through KV to every server", func(t *testing.T) {
		other, otherParts := realCMDB(t, estate.Node(second).HTTPAddr())
		testFacts(t, c, parts, other, otherParts)
	})
	t.Run("a node that fails and comes back", func(t *testing.T) {
		estate.Node(second).Kill()
		eventually(t, "failed", func() bool { return node(c, second).Status == mesh.MemberFailed })
		eventually(t, "critical", func() bool { return node(c, second).Health() == mesh.HealthCritical })
		want(t, "nodes", []mesh.NodeName{server, first, second, "sh-w-admin01"}, names(t, c, "all"))
		if err := estate.Node(second).Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "alive", func() bool {
			n := node(c, second)
			return n.Status == mesh.MemberAlive && n.Health() == mesh.HealthPassing
		})
	})
	t.Run("a thousand nodes more", func(t *testing.T) {
		registerNodes(t, estate.Node(server).HTTPAddr(), 1000)
		eventually(t, "1,004 nodes", func() bool { return len(c.Snapshot().Nodes()) == 1004 })
	})
	t.Run("the whole of health is read and never watched", func(t *testing.T) {
		all, blocking := rec.asked("/v1/health/state/any")
		if all == 0 || blocking != 0 {
			t.Errorf("%d reads of it, %d of them watches; want some and none", all, blocking)
		}
		if _, blocking := rec.asked("/v1/health/state/critical"); blocking == 0 {
			t.Error("the critical checks are not watched")
		}
		if all, _ := rec.asked("/v1/health/service"); all != 0 {
			t.Errorf("%d reads of a service's health, want none", all)
		}
	})
	t.Run("Consul away and back", func(t *testing.T) {
		estate.Node(server).Kill()
		eventually(t, "noticed", func() bool { return c.Age() > 0 })
		if n := len(c.Snapshot().Nodes()); n != 1004 {
			t.Errorf("%d nodes while Consul is away, want what was known", n)
		}
		if err := estate.Node(server).Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "back", func() bool { return c.Age() == 0 })
	})
}

func testCheck(t *testing.T, c *cmdb.CMDB, n *cluster.Node) {
	agent, err := consul.New(consul.Options{Address: n.HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	err = agent.RegisterService(t.Context(), consul.Registration{
		ID: "hdfs", Name: "hdfs-datanode", Port: 9866, Tags: []string{"prod"},
		Checks: []consul.TTLCheck{{ID: "volumes", Name: "volumes", TTL: time.Hour, Status: consul.Passing}},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "registered", func() bool {
		return slices.Equal(names(t, c, "service=hdfs-datanode tag=prod check=volumes"), []mesh.NodeName{mesh.NodeName(n.Name)})
	})
	for _, status := range []mesh.Health{mesh.HealthCritical, mesh.HealthWarning, mesh.HealthPassing} {
		if err := agent.UpdateTTL(t.Context(), "volumes", string(status), "2 of 12"); err != nil {
			t.Fatal(err)
		}
		eventually(t, string(status), func() bool { return node(c, n.Name).Health() == status })
	}
}

func testFacts(t *testing.T, c *cmdb.CMDB, parts *cmdbtest.Estate, other *cmdb.CMDB, otherParts *cmdbtest.Estate) {
	id := mesh.NewNodeID()
	for _, p := range []*cmdbtest.Estate{parts, otherParts} {
		p.Roster.Set(cmdb.Enrolment{ID: id, EnrolledAt: time.Now()})
	}
	c.RosterChanged()
	other.RosterChanged()
	for _, cpus := range []int{2, 4} {
		o := observation(id, cpus)
		o.Facts.Name = "bj-e-hadoop01-11-203"
		if err := c.Commit(t.Context(), id, []mesh.Observation{o}); err != nil {
			t.Fatal(err)
		}
		for which, c := range map[string]*cmdb.CMDB{"the server that took them": c, "the other": other} {
			eventually(t, "at "+which, func() bool {
				n := node(c, "bj-e-hadoop01-11-203")
				return n.ID == id && n.Facts != nil && n.Facts.CPUs == cpus
			})
		}
	}
	if l := parts.History.Changes(); len(l) != 1 || l[0].Field != "cpus" || l[0].Old != "2" || l[0].New != "4" {
		t.Errorf("history = %+v, want one change", l)
	}
}

// registerNodes puts n external nodes into the catalog, 100 at a time.
func registerNodes(t *testing.T, addr string, n int) {
	t.Helper()
	type op map[string]any
	for from := 0; from < n; from += 100 {
		var ops []op
		for i := from; i < min(from+100, n); i++ {
			node := op{"Node": fmt.Sprintf("bj-e-kafka01-%d-%d", 10+i/200, 10+i%200), "Address": "127.0.0.9"}
			ops = append(ops, op{"Node": op{"Verb": "set", "Node": node}})
		}
		body, err := json.Marshal(ops)
		if err != nil {
			t.Fatal(err)
		}
		put(t, "http://"+addr+"/v1/txn", body)
	}
}

func put(t *testing.T, url string, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("PUT %s: %s: %s", url, resp.Status, b)
	}
}

func TestSettingsOnConsul(t *testing.T) {
	cl := cluster.ForTest(t, cluster.Options{Datacenters: []cluster.Datacenter{{Name: dc, Nodes: []cluster.NodeSpec{{Name: "bj-e-admin03", Server: true}}}}})
	client, err := consul.New(consul.Options{Address: cl.Nodes()[0].HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	node := mesh.Node{ID: mesh.NewNodeID(), Name: "bj-e-admin03", DC: dc}
	told := make(chan []mesh.Setting, 8)
	s, err := cmdb.NewSettings(cmdb.SettingsOptions{
		Source: cmdb.FromConsul(client, dc), Nodes: func() []mesh.Node { return []mesh.Node{node} },
		OnChange: func(_ mesh.Node, l []mesh.Setting) { told <- l },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	next := func() []mesh.Setting {
		t.Helper()
		select {
		case l := <-told:
			return l
		case <-time.After(30 * time.Second):
			t.Fatal("the node is never told")
			return nil
		}
	}
	if l := next(); len(l) != 0 {
		t.Errorf("settings of an empty KV = %+v", l)
	}
	key := cmdb.SettingPrefix + "node/bj-e-admin03/check/disk/warn"
	if err := client.Put(t.Context(), key, []byte("95")); err != nil {
		t.Fatal(err)
	}
	if l := next(); len(l) != 1 || l[0].Name != "check/disk/warn" || l[0].Value != "95" || l[0].From != key {
		t.Errorf("settings = %+v, want the one of the node", l)
	}
	if err := client.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if l := next(); len(l) != 0 {
		t.Errorf("settings after the key is gone = %+v", l)
	}
}
