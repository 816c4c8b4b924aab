package consul

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/checks"
	"alps/checks/checktest"
	"alps/mesh"
)

// fake answers from its fields.
type fake struct {
	leader  string
	peers   []string
	members []mesh.Member
	err     error
}

func (f fake) Leader(context.Context) (string, error)         { return f.leader, f.err }
func (f fake) Peers(context.Context) ([]string, error)        { return f.peers, f.err }
func (f fake) Members(context.Context) ([]mesh.Member, error) { return f.members, f.err }

// silent answers when the context ends.
type silent struct{}

func (silent) Leader(ctx context.Context) (string, error)  { <-ctx.Done(); return "", ctx.Err() }
func (silent) Peers(ctx context.Context) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
func (silent) Members(ctx context.Context) ([]mesh.Member, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// cluster has servers, of which the first failed have, and clients likewise.
func cluster(servers, failedServers, clients, failedClients int) fake {
	f := fake{leader: "10.0.0.1:8300"}
	add := func(name, kind string, failed bool) {
		m := mesh.Member{Name: mesh.NodeName(name), Type: kind, Status: mesh.MemberAlive}
		if failed {
			m.Status = mesh.MemberFailed
		}
		f.members = append(f.members, m)
	}
	for i := range servers {
		f.peers = append(f.peers, fmt.Sprintf("10.0.0.%d:8300", i+1))
		add(fmt.Sprintf("server%d", i+1), "server", i < failedServers)
	}
	for i := range clients {
		add(fmt.Sprintf("client%d", i+1), "client", i < failedClients)
	}
	return f
}

func pack(t *testing.T, a Asker) checks.Pack {
	t.Helper()
	p, err := New(Options{Consul: a, Node: "server3"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConformance(t *testing.T) {
	slow := pack(t, silent{})
	checktest.Run(t, pack(t, cluster(3, 0, 5, 0)), checktest.Options{Slow: &slow, Waits: []string{"leader", "peers", "members"}})
}

func TestProbes(t *testing.T) {
	type outcome struct {
		Status mesh.Health
		Output string
	}
	noLeader := cluster(3, 0, 0, 0)
	noLeader.leader = ""
	away := fake{err: mesh.Errorf(mesh.Unavailable, "connect to 127.0.0.1:8500 after 3.2 s: refused")}
	broken := fake{err: errors.New("port 45673")}
	for name, tc := range map[string]struct {
		consul   Asker
		probe    string
		settings map[string]string
		want     outcome
	}{
		"a leader":             {cluster(3, 0, 0, 0), "leader", nil, outcome{mesh.HealthPassing, "Consul has a leader"}},
		"no leader":            {noLeader, "leader", nil, outcome{mesh.HealthCritical, "Consul has no leader"}},
		"Consul is away":       {away, "leader", nil, outcome{mesh.HealthUnknown, "ask Consul for its leader: unavailable"}},
		"Consul is broken":     {broken, "peers", nil, outcome{mesh.HealthUnknown, "ask Consul for its servers: it failed"}},
		"all three":            {cluster(3, 0, 0, 0), "peers", nil, outcome{mesh.HealthPassing, "3 of 3 servers live, 2 are needed"}},
		"two of three":         {cluster(3, 1, 0, 0), "peers", nil, outcome{mesh.HealthWarning, "too few servers may fail: 2 of 3 servers live, 2 are needed"}},
		"one of three":         {cluster(3, 2, 0, 0), "peers", nil, outcome{mesh.HealthCritical, "the quorum is lost: 1 of 3 servers live, 2 are needed"}},
		"four of five":         {cluster(5, 1, 0, 0), "peers", nil, outcome{mesh.HealthPassing, "4 of 5 servers live, 3 are needed"}},
		"four of five, strict": {cluster(5, 1, 0, 0), "peers", map[string]string{"spare": "2"}, outcome{mesh.HealthWarning, "too few servers may fail: 4 of 5 servers live, 3 are needed"}},
		"one alone":            {cluster(1, 0, 0, 0), "peers", nil, outcome{mesh.HealthPassing, "1 of 1 servers live, 1 are needed"}},
		"two":                  {cluster(2, 0, 0, 0), "peers", nil, outcome{mesh.HealthPassing, "2 of 2 servers live, 2 are needed"}},
		"no servers":           {cluster(0, 0, 3, 0), "peers", nil, outcome{mesh.HealthUnknown, "Consul names no servers"}},
		"nobody failed":        {cluster(3, 0, 9, 0), "members", nil, outcome{mesh.HealthPassing, "no member has failed"}},
		"some failed":          {cluster(3, 0, 9, 3), "members", nil, outcome{mesh.HealthWarning, "failed: client[1-3]"}},
		"many failed":          {cluster(3, 0, 9, 3), "members", map[string]string{"critical": "3"}, outcome{mesh.HealthCritical, "failed: client[1-3]"}},
		"some are allowed":     {cluster(3, 0, 9, 1), "members", map[string]string{"warn": "2"}, outcome{mesh.HealthPassing, "failed: client1"}},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := checks.NewSet([]checks.Pack{pack(t, tc.consul)})
			if err != nil {
				t.Fatal(err)
			}
			r := set.Run(t.Context(), "consul."+tc.probe, tc.settings)
			if diff := cmp.Diff(tc.want, outcome{r.Status, r.Output}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.probe, diff)
			}
		})
	}
}

func TestApplies(t *testing.T) {
	for name, tc := range map[string]struct {
		consul Asker
		want   bool
		fails  bool
	}{
		"on a server":    {cluster(3, 0, 1, 0), true, false},
		"on a client":    {fake{members: []mesh.Member{{Name: "server3", Type: "client"}}}, false, false},
		"Consul is away": {fake{err: errors.New("refused")}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pack(t, tc.consul).Applies(t.Context())
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("Applies: %v, %v, want %v", got, err, tc.want)
			}
		})
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a pack without Consul was made")
	}
}

// TestJudge: a quorum that is lost is never less than critical, and one more
// server that lives never makes it worse.
func TestJudge(t *testing.T) {
	rank := map[mesh.Health]int{mesh.HealthPassing: 0, mesh.HealthWarning: 1, mesh.HealthCritical: 2}
	rapid.Check(t, func(t *rapid.T) {
		voters := rapid.IntRange(1, 11).Draw(t, "voters")
		alive := rapid.IntRange(0, voters).Draw(t, "alive")
		got := judge(voters, alive, 1)
		if lost := 2*alive <= voters; lost != (got.Status == mesh.HealthCritical) {
			t.Errorf("%d of %d: %s", alive, voters, got.Status)
		}
		if alive < voters && rank[judge(voters, alive+1, 1).Status] > rank[got.Status] {
			t.Errorf("%d of %d is worse than one less", alive+1, voters)
		}
	})
}
