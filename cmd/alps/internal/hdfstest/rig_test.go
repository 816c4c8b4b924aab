package hdfstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	hdfs "alps/checks/hdfs/cluster"
	"alps/cmd/alps/internal/dev"
	"alps/cmd/alps/internal/loop"
	"alps/mesh"
	consul "alps/mesh/consul/cluster"
	v1 "alps/server/api/v1"
)

// The nodes of HDFS.
const (
	nameNode  = "bj-e-admin01"
	nameNode2 = "bj-e-admin03" // with HA.
	one       = "bj-e-hadoop01-11-203"
	two       = "bj-e-hadoop01-11-204"
	three     = "bj-e-hadoop01-13-220"
	four      = "bj-e-hadoop01-13-221"
)

// patience is how long a run may take: a drain, and processes of Java that
// share two cores.
const patience = 4 * time.Minute

type options struct {
	hdfs   hdfs.Options
	policy string            // a file of deploy/policies.
	edit   map[string]string // what is replaced in it, beside its mode.
	nodes  int               // DataNodes: 4 unless it says 3.
	server int               // ALPS servers.
}

// rig is a cluster with HDFS, every disk of which is known to be well.
type rig struct {
	*loop.Rig

	hdfs *hdfs.Cluster
	name string // of the policy.
}

func start(t *testing.T, o options) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	hdfs.Require(t)
	dir := t.TempDir()
	dcs := dev.HDFSDeck()
	if o.nodes == 3 {
		dcs[0].Nodes = slices.DeleteFunc(dcs[0].Nodes, func(n consul.NodeSpec) bool { return n.Name == four })
	}
	disks := slices.DeleteFunc([]string{one, two, three, four}, func(n string) bool { return n == four && o.nodes == 3 })
	r := &rig{name: strings.TrimSuffix(o.policy, ".hcl")}
	r.Rig = loop.Start(t, loop.Options{Web: []string{}, Rules: policyText(t, o), Dev: dev.Options{
		Dir: filepath.Join(dir, "dev"), Datacenters: dcs, HDFS: &o.hdfs, Servers: max(1, o.server),
	}})
	r.hdfs = r.HDFS()
	for _, n := range disks {
		r.AwaitCheck(t, n, "hdfs-volumes", mesh.HealthPassing)
	}
	return r
}

// policyText is a policy that ships, which acts and tells the hook.
func policyText(t *testing.T, o options) string {
	t.Helper()
	text := ""
	for _, name := range []string{"hdfs-disk.hcl", o.policy} {
		b, err := os.ReadFile(filepath.Join("../../../../deploy/policies", name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	replace := func(old, with string) {
		if strings.Count(text, old) != 1 {
			t.Fatalf("%s has %q %d times", o.policy, old, strings.Count(text, old))
		}
		text = strings.Replace(text, old, with, 1)
	}
	replace(`mode = "approve" # then "auto"`, "mode = \"auto\"\n  retry = \"10s\"")
	for old, with := range o.edit {
		replace(old, with)
	}
	return "receiver \"ops\" {\n  url = \"HOOK\"\n}\n" + text
}

// disk is the first data directory of a DataNode.
func (r *rig) disk(node string) string { return r.hdfs.Node(node).DataDirs[0] }

// breakDisk makes a disk read-only, which HDFS does not notice by itself.
func (r *rig) breakDisk(t *testing.T, node string) (mend func()) {
	t.Helper()
	undo, err := hdfs.ReadOnly(r.disk(node))
	if err != nil {
		t.Fatal(err)
	}
	mend = func() {
		if err := undo(); err != nil {
			t.Errorf("mend the disk of %s: %v", node, err)
		}
	}
	t.Cleanup(mend)
	return mend
}

// runs are those of the policy, the oldest first.
func (r *rig) runs(ctx context.Context) ([]mesh.RemedyRun, error) {
	list, err := r.Client().RemedyRuns(ctx, v1.RemedyRunFilter{Policy: r.name, Limit: 100})
	slices.Reverse(list)
	return list, err
}

// awaitRun waits until a run for a node is as wanted.
func (r *rig) awaitRun(t *testing.T, node, what string, ok func(mesh.RemedyRun) bool) mesh.RemedyRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		list, err := r.runs(ctx)
		for _, run := range slices.Backward(list) {
			if string(run.Node) == node && ok(run) {
				return run
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("wait until a run for %s %s: %v; runs:\n%s", node, what, err, tell(list))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ended waits for the end of a run that has acted or refused.
func (r *rig) ended(t *testing.T, node string, want mesh.RemedyState) mesh.RemedyRun {
	t.Helper()
	return r.awaitRun(t, node, "is "+string(want), func(run mesh.RemedyRun) bool { return run.State == want })
}

// tell is runs in words, for messages.
func tell(runs []mesh.RemedyRun) string {
	var b strings.Builder
	for _, r := range runs {
		fmt.Fprintf(&b, "%s %s %s %s\n", r.Node, r.State, r.Guard, r.Reason)
		for _, s := range r.Steps {
			fmt.Fprintf(&b, "    %s %s %s, %d attempts: %s\n", s.Kind, s.Name, s.State, s.Attempts, s.Reason)
			for _, n := range s.Nodes {
				answer, _ := json.Marshal(n.Answer)
				fmt.Fprintf(&b, "        %s %s %s\n", n.Node, n.Job.State, answer)
			}
		}
	}
	return b.String()
}

// acts are the runs that have begun a step that acts.
func acts(runs []mesh.RemedyRun) []mesh.RemedyRun {
	return slices.DeleteFunc(slices.Clone(runs), func(r mesh.RemedyRun) bool {
		return !slices.ContainsFunc(r.Steps, func(s mesh.RemedyStep) bool { return s.Kind == mesh.StepAct })
	})
}

// step is a step of a run by its name; it fails the test when there is none.
func step(t *testing.T, r mesh.RemedyRun, kind mesh.StepKind) mesh.RemedyStep {
	t.Helper()
	at := slices.IndexFunc(r.Steps, func(s mesh.RemedyStep) bool { return s.Kind == kind })
	if at < 0 {
		t.Fatalf("the run has no %s:\n%s", kind, tell([]mesh.RemedyRun{r}))
	}
	return r.Steps[at]
}

// hostFile is what a NameNode reads, without empty lines.
func (r *rig) hostFile(t *testing.T, node string) []string {
	t.Helper()
	b, err := os.ReadFile(r.hdfs.Node(node).HostFile())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// adminStates are those of the live DataNodes by their host names, as a
// NameNode shows them.
func (r *rig) adminStates(t *testing.T, node string) map[string]string {
	t.Helper()
	var info struct{ LiveNodes string }
	r.bean(t, node, "NameNodeInfo", &info)
	var nodes map[string]struct{ AdminState string }
	if err := json.Unmarshal([]byte(info.LiveNodes), &nodes); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for key, n := range nodes {
		host, _, _ := strings.Cut(key, ":")
		out[host] = n.AdminState
	}
	return out
}

// blocks is what the active NameNode counts.
type blocks struct{ UnderReplicatedBlocks int }

func (r *rig) bean(t *testing.T, node, name string, into any) {
	t.Helper()
	raw, err := r.hdfs.JMX(t.Context(), r.hdfs.Node(node), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// put writes files and returns what they must say afterwards.
func (r *rig) put(t *testing.T, path string, n, replication int) (check func()) {
	t.Helper()
	want, err := r.hdfs.Put(t.Context(), path, n, replication)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		got, err := r.hdfs.Checksum(t.Context(), path)
		if err != nil || got != want {
			t.Errorf("%s reads as %s, want %s: %v", path, got, want, err)
		}
	}
}

// cli runs a command of Hadoop's.
func (r *rig) cli(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.hdfs.HDFS(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// rawIs wants the newest result of the disks' check to be so.
func (r *rig) rawIs(node string, want mesh.Health) func(context.Context) error {
	return func(ctx context.Context) error {
		s, err := r.Check(ctx, node, "hdfs-volumes")
		if err == nil && s.Result.Status != want {
			err = fmt.Errorf("the newest result is %s: %s", s.Result.Status, s.Result.Output)
		}
		return err
	}
}

// reconfigure has a DataNode take a disk back that is well again.
func (r *rig) reconfigure(t *testing.T, node string) {
	t.Helper()
	n := r.hdfs.Node(node)
	r.cli(t, "dfsadmin", "-reconfig", "datanode", n.IPC, "start")
	loop.Await(t, node+" has its disks again", func(context.Context) error {
		out := r.cli(t, "dfsadmin", "-reconfig", "datanode", n.IPC, "status")
		if !strings.Contains(out, "finished") {
			return errors.New(out)
		}
		return nil
	})
}

// fire sends a user event, as Consul may do with any that it has.
func (r *rig) fire(t *testing.T, name string) {
	t.Helper()
	url := "http://" + r.Consul().Nodes()[0].HTTPAddr() + "/v1/event/fire/" + name
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("again"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("fire %s: %s, %v", name, resp.Status, err)
	}
}
