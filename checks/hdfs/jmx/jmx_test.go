package jmx

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alps/checks/hdfs/jmxtest"
	"alps/checks/hdfs/site"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is a Client that no slow machine makes fail.
func patient() *Client { return New(Options{Timeout: 30 * time.Second}) }

func TestNameNodeInfo(t *testing.T) {
	for recording, want := range map[string]struct {
		live, dead, leaving int
		volfails            int64
		state               AdminState
		lives               bool
		under               int64
		safe                bool
	}{
		jmxtest.NameNode:       {live: 3, state: InService, lives: true},
		jmxtest.NameNodeVolume: {live: 3, volfails: 1, state: InService, lives: true},
		jmxtest.NameNodeDecom:  {live: 3, leaving: 1, volfails: 1, state: Decommissioning, lives: true, under: 16},
		jmxtest.NameNodeDead:   {live: 2, dead: 1, state: InService},
		jmxtest.NameNodeSafe:   {live: 2, dead: 1, state: InService, safe: true},
	} {
		t.Run(recording, func(t *testing.T) {
			nn := jmxtest.New(t, recording)
			info, err := patient().NameNodeInfo(t.Context(), nn.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if len(info.Live) != want.live || len(info.Dead) != want.dead || len(info.Leaving) != want.leaving {
				t.Errorf("%d live, %d dead, %d leaving: want %+v", len(info.Live), len(info.Dead), len(info.Leaving), want)
			}
			state, lives := info.AdminState("dn2:29862")
			if state != want.state || lives != want.lives {
				t.Errorf("dn2 is %s, lives %v: want %s, %v", state, lives, want.state, want.lives)
			}
			n := info.Live["dn2:29862"]
			if n.VolFails != want.volfails || int64(len(n.FailedStorageIDs)) != want.volfails {
				t.Errorf("volfails %d of %v, want %d", n.VolFails, n.FailedStorageIDs, want.volfails)
			}
			if got := info.Leaving["dn2:29862"]; got.UnderReplicatedBlocks != want.under {
				t.Errorf("%d blocks are left, want %d", got.UnderReplicatedBlocks, want.under)
			}
			if (info.Safemode != "") != want.safe || !info.UpgradeFinalized || info.RollingUpgrade || info.Missing != 0 {
				t.Errorf("safe mode %q, upgrade finalized %v, rolling %v, missing %d", info.Safemode, info.UpgradeFinalized, info.RollingUpgrade, info.Missing)
			}
		})
	}
}

func TestNameNodeMetrics(t *testing.T) {
	nn := jmxtest.New(t, jmxtest.NameNode)
	c := patient()
	system, err := c.SystemState(t.Context(), nn.Addr())
	if err != nil || system.NumLiveDataNodes != 3 || system.NumInServiceLiveDataNodes != 3 || system.BlocksTotal != 8 {
		t.Errorf("SystemState: %+v, %v", system, err)
	}
	metrics, err := c.SystemMetrics(t.Context(), nn.Addr())
	if err != nil || metrics.LastCheckpointTime != 1795281117579 || metrics.TransactionsSinceLastCheckpoint != 1 {
		t.Errorf("SystemMetrics: %+v, %v", metrics, err)
	}
	jvm, err := c.JVM(t.Context(), nn.Addr())
	if err != nil || jvm.MemHeapMaxM != 92.8125 {
		t.Errorf("JVM: %+v, %v", jvm, err)
	}
	rpc, err := c.RPC(t.Context(), nn.Addr())
	if err != nil || len(rpc) != 1 || rpc[0].Port != "8020" {
		t.Errorf("RPC: %+v, %v", rpc, err)
	}
}

func TestDataNode(t *testing.T) {
	dn := jmxtest.New(t, jmxtest.DataNodeVolume)
	c := patient()
	info, err := c.DataNodeInfo(t.Context(), dn.Addr())
	if err != nil {
		t.Fatal(err)
	}
	want := &DataNodeInfo{
		Hostname: "dn2", DataPort: "29862", HTTPPort: "29642", IPCPort: "29672",
		Version: "3.4.3, r9d50c6884666e794e45102260a4017bb31802e1b", ClusterID: "CID-6a5766f1-ed80-4b3b-8328-d2e60d669975",
		Volumes: map[string]Volume{"/data/dn2/d1": {UsedSpace: 16932976, FreeSpace: 72725434368, NumBlocks: 16, StorageType: "DISK"}},
		Actors:  []Actor{{NameNode: "nn1:8020", State: "RUNNING", HAState: "active", BlockReportAge: 3, BlockPool: "BP-1150796069-127.0.0.1-1795281117475"}},
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("DataNodeInfo (-want +got):\n%s", diff)
	}
	set, err := c.Dataset(t.Context(), dn.Addr())
	if err != nil {
		t.Fatal(err)
	}
	wantSet := &Dataset{
		UUID: "91f4afe6-3ff0-40e0-93f1-6d97af41c679", NumFailedVolumes: 1, FailedVolumes: []string{"/data/dn2/d2"},
		LastVolumeFailureDate: 1795281129639, EstimatedCapacityLostTotal: 270553174016,
		Capacity: 270553174016, DfsUsed: 16932976, Remaining: 72725430272,
	}
	if diff := cmp.Diff(wantSet, set); diff != "" {
		t.Errorf("Dataset (-want +got):\n%s", diff)
	}
}

// say answers with a text, whatever is asked.
func say(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*jmxtest.Server)
		kind   Kind
		text   string
	}{
		"nobody listens":   {func(s *jmxtest.Server) { s.Close() }, NoAnswer, "connection refused"},
		"a login":          {func(s *jmxtest.Server) { s.Answer(say(401, "")) }, Denied, "whitelist"},
		"forbidden":        {func(s *jmxtest.Server) { s.Answer(say(403, "")) }, Denied, "403"},
		"another page":     {func(s *jmxtest.Server) { s.Answer(say(404, "")) }, Garbled, "it answers 404"},
		"a page of HTML":   {func(s *jmxtest.Server) { s.Answer(say(200, "<html></html>")) }, Garbled, "no JSON"},
		"nothing":          {func(s *jmxtest.Server) { s.Answer(say(200, "")) }, Garbled, "no JSON"},
		"half an answer":   {func(s *jmxtest.Server) { s.Answer(say(200, `{"beans": [{"name": "Hadoop`)) }, Garbled, "broken"},
		"no beans at all":  {func(s *jmxtest.Server) { s.Answer(say(200, `{"error": "x"}`)) }, Garbled, "no beans"},
		"no such bean":     {func(s *jmxtest.Server) { s.Drop("NameNodeInfo") }, NoBean, `no "NameNodeInfo"`},
		"a bean of others": {func(s *jmxtest.Server) { s.Answer(say(200, `{"beans": [{"name": "java.lang:type=Memory"}]}`)) }, Garbled, "it gave"},
		"two beans":        {func(s *jmxtest.Server) { s.Answer(say(200, `{"beans": [{}, {}]}`)) }, Garbled, "2 beans"},
		"broken inside":    {func(s *jmxtest.Server) { s.Set("NameNodeInfo", "LiveNodes", `{"dn1:1": {`) }, Garbled, "LiveNodes"},
		"a number in text": {func(s *jmxtest.Server) { s.Set("NameNodeInfo", "NumberOfMissingBlocks", "many") }, Garbled, "makes no sense"},
		"without a number": {func(s *jmxtest.Server) { s.Set("NameNodeInfo", "NumberOfMissingBlocks", nil) }, Garbled, "lacks"},
		"less than none":   {func(s *jmxtest.Server) { s.Set("NameNodeInfo", "NumberOfMissingBlocks", -1) }, Garbled, "less than no"},
		"a router":         {func(s *jmxtest.Server) { s.Patch("LiveNodes", "dn1:29861", map[string]any{"volfails": -1}) }, Router, "it is a router"},
		"a redirect": {func(s *jmxtest.Server) {
			s.Answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) })
		}, Garbled, "302"},
		"a cache": {func(s *jmxtest.Server) {
			s.Answer(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Age", "600") })
		}, Garbled, "a cache"},
		"cut in the middle": {func(s *jmxtest.Server) {
			s.Answer(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, `{"beans": [`)
			})
		}, Garbled, "in the middle"},
	} {
		t.Run(name, func(t *testing.T) {
			nn := jmxtest.New(t, jmxtest.NameNode)
			tc.change(nn)
			_, err := patient().NameNodeInfo(t.Context(), nn.Addr())
			if KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), nn.Addr()) {
				t.Errorf("%s: %v, want %s with %q", KindOf(err), err, tc.kind, tc.text)
			}
		})
	}
}

func TestHangIsCutOff(t *testing.T) {
	nn := jmxtest.New(t, jmxtest.NameNode)
	nn.Hang()
	c := New(Options{Timeout: 20 * time.Millisecond})
	_, err := c.NameNodeInfo(t.Context(), nn.Addr())
	if KindOf(err) != Slow {
		t.Errorf("got %v, want that it is slow", err)
	}
	// One that dribbles is no better than one that is silent.
	nn.Answer(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"beans": [`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	if _, err = c.NameNodeInfo(t.Context(), nn.Addr()); KindOf(err) != Slow {
		t.Errorf("got %v, want that it is slow", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = patient().NameNodeInfo(ctx, nn.Addr()); KindOf(err) != Slow {
		t.Errorf("an ended context: %v", err)
	}
}

func TestDatasetRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*jmxtest.Server)
		kind   Kind
	}{
		"only the old numbers":   {func(s *jmxtest.Server) { s.Drop("FSDatasetState-") }, NoBean},
		"nothing of the kind":    {func(s *jmxtest.Server) { s.Drop("FSDatasetState") }, NoBean},
		"it does not say":        {func(s *jmxtest.Server) { s.Set("FSDatasetState-", "NumFailedVolumes", nil) }, Garbled},
		"a number that is text":  {func(s *jmxtest.Server) { s.Set("FSDatasetState-", "NumFailedVolumes", "x") }, Garbled},
		"a heartbeat that is no": {func(s *jmxtest.Server) { s.Set("DataNodeInfo", "BPServiceActorInfo", `[{"LastHeartbeat": "x"}]`) }, Garbled},
		"volumes that are none":  {func(s *jmxtest.Server) { s.Set("DataNodeInfo", "VolumeInfo", `[]`) }, Garbled},
	} {
		t.Run(name, func(t *testing.T) {
			dn := jmxtest.New(t, jmxtest.DataNode)
			tc.change(dn)
			_, err := patient().Dataset(t.Context(), dn.Addr())
			if err == nil {
				_, err = patient().DataNodeInfo(t.Context(), dn.Addr())
			}
			if KindOf(err) != tc.kind {
				t.Errorf("got %v, want %s", err, tc.kind)
			}
		})
	}
}

// nameNodes is a pair of which the first is active.
func nameNodes(t *testing.T) (a, b *jmxtest.Server, nns []site.NameNode) {
	t.Helper()
	a, b = jmxtest.New(t, jmxtest.NameNode), jmxtest.New(t, jmxtest.NameNode)
	b.Set("NameNodeStatus", "State", StateStandby)
	return a, b, []site.NameNode{{Service: "ns1", ID: "nn1", HTTP: a.Addr()}, {Service: "ns1", ID: "nn2", HTTP: b.Addr()}}
}

func TestSurvey(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(a, b *jmxtest.Server)
		active string // its id, "" when there must be none.
		silent int
		text   string
	}{
		"one active": {func(*jmxtest.Server, *jmxtest.Server) {}, "nn1", 0, ""},
		"the other": {func(a, b *jmxtest.Server) {
			a.Set("NameNodeStatus", "State", StateStandby)
			b.Set("NameNodeStatus", "State", StateActive)
		}, "nn2", 0, ""},
		"both":                  {func(_, b *jmxtest.Server) { b.Set("NameNodeStatus", "State", StateActive) }, "", 0, "more than one"},
		"none":                  {func(a, _ *jmxtest.Server) { a.Set("NameNodeStatus", "State", "observer") }, "", 0, "there is none: nn1 is observer; nn2 is standby"},
		"the standby is away":   {func(_, b *jmxtest.Server) { b.Close() }, "nn1", 1, ""},
		"the active is away":    {func(a, _ *jmxtest.Server) { a.Close() }, "", 1, "connection refused"},
		"the active is half up": {func(a, _ *jmxtest.Server) { a.Drop("NameNodeInfo") }, "", 1, "NameNodeInfo"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, nns := nameNodes(t)
			tc.change(a, b)
			s := patient().Survey(t.Context(), nns)
			active, err := s.Active()
			switch {
			case tc.active == "":
				if err == nil || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("Active: %v, want %q in it", err, tc.text)
				}
			case err != nil:
				t.Error(err)
			case active.NameNode.ID != tc.active:
				t.Errorf("the active is %s, want %s", active.NameNode.ID, tc.active)
			}
			if len(s.Silent()) != tc.silent {
				t.Errorf("silent: %v, want %d", s.Silent(), tc.silent)
			}
		})
	}
}

// TestSurveyOfOneThatHangs: it costs its own answer and no other's.
func TestSurveyOfOneThatHangs(t *testing.T) {
	_, b, nns := nameNodes(t)
	b.Hang()
	s := New(Options{Timeout: time.Second}).Survey(t.Context(), nns)
	if active, err := s.Active(); err != nil || active.NameNode.ID != "nn1" {
		t.Errorf("Active: %v, %v", active, err)
	}
	if silent := s.Silent(); len(silent) != 1 || KindOf(silent[0].Err) != Slow {
		t.Errorf("silent: %v", silent)
	}
}

// TestNumbersOfAFailoverAreNobodys: a NameNode that is another when it is asked
// again has said nothing.
func TestNumbersOfAFailoverAreNobodys(t *testing.T) {
	a, _, nns := nameNodes(t)
	asked := 0
	answers := jmxtest.New(t, jmxtest.NameNode)
	a.Answer(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 4 {
			answers.Set("NameNodeStatus", "State", StateStandby)
		}
		resp, err := http.Get("http://" + answers.Addr() + r.URL.String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})
	s := patient().Survey(t.Context(), nns)
	if _, err := s.Active(); err == nil || !strings.Contains(err.Error(), "from active to standby") {
		t.Errorf("Active: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// FuzzBean: whatever a port says, it is an answer that makes sense or an Error.
func FuzzBean(f *testing.F) {
	f.Add(`{"beans":[{"name":"Hadoop:service=NameNode,name=NameNodeInfo","Safemode":"","NumberOfMissingBlocks":0,"UpgradeFinalized":true,"LiveNodes":"{}","DeadNodes":"{}","DecomNodes":"{}"}]}`)
	f.Add(`{"beans":[{"name":"Hadoop:service=DataNode,name=DataNodeInfo","VolumeInfo":"{\"/a\":{}}","BPServiceActorInfo":"[{\"LastHeartbeat\":\"1\"}]"}]}`)
	f.Add(`{"beans":[{"name":"Hadoop:service=DataNode,name=FSDatasetState-x","NumFailedVolumes":1,"FailedStorageLocations":["[DISK]file:/a"]}]}`)
	f.Add(`{"beans":[{}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		beans, err := decode([]byte(body))
		if err != nil || len(beans) != 1 {
			return
		}
		var (
			raw  rawInfo
			data rawData
		)
		if into("a:1", prefix+"NameNodeInfo", beans[0], &raw) == nil {
			if info, err := raw.info(); err == nil && info.Missing < 0 {
				t.Errorf("%d missing blocks", info.Missing)
			}
		}
		if into("a:1", dataPrefix+"DataNodeInfo", beans[0], &data) == nil {
			if info, err := data.info(); err == nil && info.Volumes == nil {
				t.Error("no map of volumes")
			}
		}
	})
}

func BenchmarkNameNodeInfo(b *testing.B) {
	for _, nodes := range []int{4, 100, 1000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			nn := jmxtest.New(b, jmxtest.NameNode)
			live := make(map[string]any)
			for i := range nodes {
				live[fmt.Sprintf("dn%d:9866", i)] = map[string]any{"xferaddr": fmt.Sprintf("10.0.%d.%d:9866", i/256, i%256), "adminState": "In Service", "numBlocks": 500000, "volfails": 0, "location": "/rack", "capacity": 1 << 44}
			}
			nn.Text("NameNodeInfo", "LiveNodes", live)
			for b.Loop() {
				if _, err := patient().NameNodeInfo(b.Context(), nn.Addr()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
