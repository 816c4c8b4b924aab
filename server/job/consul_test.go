package job_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/consul/cluster"
	"alps/mesh/dispatch"
	"alps/server/job"
)

// kv is a job.Board in a real Consul.
type kv struct{ client *consul.Client }

func (k kv) List(ctx context.Context, prefix string, consistent bool) ([]job.Document, error) {
	q := consul.Query{Mode: consul.Stale}
	if consistent {
		q.Mode = consul.Consistent
	}
	pairs, _, err := k.client.List(ctx, prefix, q)
	var out []job.Document
	for _, p := range pairs {
		out = append(out, job.Document{Key: p.Key, Value: p.Value, Index: p.ModifyIndex})
	}
	return out, err
}

func (k kv) Txn(ctx context.Context, writes []job.Write) (uint64, error) {
	ops := make([]consul.Op, len(writes))
	for i, w := range writes {
		ops[i] = consul.Op{Verb: consul.Verb(w.Verb), Key: w.Key, Value: w.Value, Index: w.Index, Session: w.Session}
	}
	pairs, err := k.client.Txn(ctx, ops)
	if err != nil || len(pairs) == 0 {
		return 0, err
	}
	return pairs[0].ModifyIndex, nil
}

func (k kv) Fire(ctx context.Context, payload string) error {
	_, err := k.client.Fire(ctx, dispatch.EventName, []byte(payload))
	return err
}

// documents is everything that nodes read, at one time.
type documents map[string][]byte

func (d documents) Get(key string) []byte { return d[key] }

func (k kv) documents(ctx context.Context) (documents, error) {
	docs, err := k.List(ctx, dispatch.Prefix, true)
	d := make(documents, len(docs))
	for _, doc := range docs {
		d[doc.Key] = doc.Value
	}
	return d, err
}

// raftIndex is how many entries Consul has written in its life.
func raftIndex(t *testing.T, n *cluster.Node) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.HTTPAddr()+"/v1/agent/self", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // no connection is left for goleak to find.
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var self struct {
		Stats struct {
			Raft struct {
				Last string `json:"last_log_index"`
			} `json:"raft"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&self); err != nil {
		t.Fatal(err)
	}
	index, err := strconv.Atoi(self.Stats.Raft.Last)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// TestRealConsul submits one job and a burst of jobs, then restores a snapshot
// from before them, in a real Consul.
func TestRealConsul(t *testing.T) {
	c := cluster.ForTest(t, cluster.Options{})
	node := c.Nodes()[0]
	client, err := consul.New(consul.Options{Address: node.HTTPAddr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	board := kv{client}
	r := newRig(t, 200)
	r.board = func(string) job.Board { return board }
	r.start()
	defer func() { r.stop() }()

	snapshot, err := node.SaveSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := raftIndex(t, node)
	all := r.submit(run("all"))
	if used := raftIndex(t, node) - before; !all.Published || used > 20 {
		t.Errorf("a job for 200 nodes took %d Raft entries, published %v; want at most 20", used, all.Published)
	}

	fencedOnConsul := submitFenced(t, r, client)

	const jobs = 2000
	ids := make([]mesh.JobID, jobs)
	before = raftIndex(t, node)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range jobs {
		wg.Go(func() { ids[i] = r.submit(run(string(r.nodes.list[i%200].Name))).Job.ID })
	}
	wg.Wait()
	used := raftIndex(t, node) - before
	t.Logf("%d jobs for one node each: %s, %d Raft entries", jobs, time.Since(start).Round(time.Millisecond), used)
	if used > jobs/4 {
		t.Errorf("%d jobs took %d Raft entries, want them to share", jobs, used)
	}
	ids = append(ids, all.Job.ID, fencedOnConsul)
	slices.Sort(ids)
	read := func() (got []mesh.JobID) {
		docs, err := board.documents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range r.nodes.list {
			got = append(got, r.agent(string(n.Name)).look(docs)...)
		}
		slices.Sort(got)
		return slices.Compact(got)
	}
	if got := read(); !slices.Equal(got, ids) {
		t.Errorf("the nodes read %d jobs, want the %d that were submitted", len(got), len(ids))
	}

	if err := node.RestoreSnapshot(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for !slices.Equal(read(), ids) {
		if time.Now().After(deadline) {
			t.Fatalf("a minute after the restore the nodes read %d jobs, want %d", len(read()), len(ids))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// submitFenced submits a job under a lock that is held, and one under a lock
// that is not. It returns the first.
func submitFenced(t *testing.T, r *rig, c *consul.Client) mesh.JobID {
	t.Helper()
	session, err := c.CreateSession(t.Context(), consul.SessionOptions{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := c.Acquire(t.Context(), lockKey, nil, session); err != nil || !ok {
		t.Fatalf("Acquire = %v, %v", ok, err)
	}
	id, lost := mesh.NewJobID(), mesh.NewJobID()
	if sub := r.submit(fenced(id, "all", session)); !sub.Published || sub.Repeated {
		t.Errorf("under the lock: published %v, repeated %v", sub.Published, sub.Repeated)
	}
	if sub := r.submit(fenced(id, "all", session)); !sub.Published || !sub.Repeated {
		t.Errorf("once more: published %v, repeated %v", sub.Published, sub.Repeated)
	}
	if err := c.DestroySession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	if _, err := r.service.Submit(t.Context(), r.actor(), fenced(lost, "all", session)); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("without the lock: %v, want %q", err, mesh.Conflict)
	}
	p, _, err := c.Get(t.Context(), dispatch.SpecKey(lost, 1), consul.Query{Mode: consul.Consistent})
	if err != nil || p != nil {
		t.Errorf("the spec of the lost job is %v, %v, want none", p, err)
	}
	return id
}
