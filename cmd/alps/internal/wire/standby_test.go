package wire

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/consul"
	"alps/mesh/pki"
	"alps/server/api"
	"alps/server/leader"
	"alps/server/store/sqlite"
)

// held is a lock that another server has; the zero held is one that nobody has
// and nobody gets.
type held struct{ leader.Holding }

func (h held) Create(context.Context, time.Duration) (string, error) { return "", h.away() }
func (h held) Renew(context.Context, string) error                   { return h.away() }
func (h held) Destroy(context.Context, string) error                 { return nil }
func (h held) Read(context.Context) (leader.Holding, error)          { return h.Holding, nil }

func (h held) Acquire(context.Context, string, []byte) (leader.Holding, error) {
	return leader.Holding{}, h.away()
}

func (h held) Follow(ctx context.Context, fn func(leader.Holding)) {
	fn(h.Holding)
	<-ctx.Done()
}

func (held) away() error { return mesh.Errorf(mesh.Unavailable, "consul is away") }

// relayTo is the API of a server that stands by while who leads, or nobody.
func relayTo(t *testing.T, who *leader.Info) *httptest.Server {
	t.Helper()
	lock := held{leader.Holding{Index: 7}}
	if who != nil {
		text, err := json.Marshal(who)
		if err != nil {
			t.Fatal(err)
		}
		lock.Holding = leader.Holding{Session: "theirs", Value: text, LockIndex: 1, Index: 7}
	}
	lead, err := leader.New(leader.Options{Sessions: lock, Lock: lock, Me: leader.Info{Name: "me"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = lead.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	for deadline := time.Now().Add(10 * time.Second); who != nil; time.Sleep(time.Millisecond) {
		if _, ok := lead.Leader(); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it never hears who leads")
		}
	}
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{ca: ca, lead: lead, self: consul.Self{Name: "me"}, log: hclog.NewNullLogger(), cfg: &config.Server{API: config.API{Listen: "127.0.0.1:1"}}}
	conns := s.toLeader()
	t.Cleanup(conns.CloseIdleConnections)
	srv := httptest.NewServer(s.relay(conns))
	t.Cleanup(srv.Close)
	return srv
}

// TestRelayWithoutAnAnswer is what a user sees while nobody leads, or who does
// is not there: a reason and what to do, soon.
func TestRelayWithoutAnAnswer(t *testing.T) {
	frozen, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close() // takes connections, and says nothing.
	gone, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		who  *leader.Info
		want string
	}{
		"nobody leads":            {nil, "no server leads at the moment"},
		"the leader has died":     {&leader.Info{Name: "other", API: gone.Addr().String()}, "the server that leads does not answer"},
		"the leader is frozen":    {&leader.Info{Name: "other", API: frozen.Addr().String()}, "the server that leads does not answer"},
		"the leader says nothing": {&leader.Info{Name: "other"}, "no server leads at the moment"},
		"we led a moment ago":     {&leader.Info{Name: "me", API: "127.0.0.1:1"}, "no server leads at the moment"},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && tt.who != nil && tt.who.API == frozen.Addr().String() {
				t.Skip("takes as long as a frozen leader is waited for")
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, relayTo(t, tt.who).URL+"/v1/nodes", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusServiceUnavailable ||
				!strings.Contains(string(body), tt.want) || !strings.Contains(string(body), "try again") {
				t.Errorf("%d, %v: %s; want %q and to try again", res.StatusCode, err, body, tt.want)
			}
		})
	}
}

// TestRelayWaitsForSimulations: every other answer of a leader that is not
// frozen begins within seconds.
func TestRelayWaitsForSimulations(t *testing.T) {
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	conns := (&Server{ca: ca, self: consul.Self{Name: "me"}, cfg: &config.Server{}, log: hclog.NewNullLogger()}).toLeader()
	for route, want := range map[string]time.Duration{
		"POST /v1/policies/clean%2fup/simulate": api.SimulateTimeout + leaderAnswer,
		"POST /v1/remedy-runs/x/approve":        leaderAnswer,
		"GET /v1/nodes/simulate":                leaderAnswer,
	} {
		method, path, _ := strings.Cut(route, " ")
		got := conns.carrier(httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
		if got.ResponseHeaderTimeout != want {
			t.Errorf("%s is waited for %s, want %s", route, got.ResponseHeaderTimeout, want)
		}
	}
}

// TestFenceWaitsForTheStore is a leader before us that was frozen while it
// wrote.
func TestFenceWaitsForTheStore(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as SQLite waits for a lock")
	}
	path := filepath.Join(t.TempDir(), "alps.db")
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	s := &Server{db: db, log: hclog.New(&hclog.LoggerOptions{Output: &log})}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	if err := s.fence(ctx, leader.Term{Index: 3}); err == nil || ctx.Err() == nil {
		t.Errorf("the term has begun in a store that is locked: %v", err)
	}
	if got := strings.Count(log.String(), "waits for the store"); got != 1 {
		t.Errorf("it is told %d times, want once: %s", got, &log)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.fence(t.Context(), leader.Term{Index: 3}); err != nil {
		t.Error(err)
	}
	if err := s.fence(t.Context(), leader.Term{Index: 2}); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("an older term: %v, want a conflict", err)
	}
}
