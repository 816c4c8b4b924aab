package wire

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/server/api"
	"alps/server/leader"
)

const (
	// electionTime is how long a server waits for the lock before it says that
	// it stands by: alone, it leads at once.
	electionTime = time.Second
	standbyRead  = 10 * time.Second
	// standbyStop is what requests have to end in when this server is about to
	// lead. It is spent before it does, so it is short.
	standbyStop = 500 * time.Millisecond
	// leaderDial is how long the leader has to take a connection, and
	// leaderAnswer to begin an answer: a submission waits up to 5 s for Consul,
	// and a leader that is frozen never answers.
	leaderDial   = 3 * time.Second
	leaderAnswer = 20 * time.Second
)

// standBy returns when this server leads. Until then it passes every request
// on to the one that does, so that any server's address is as good as another;
// agents find no listener and go to the leader.
func (s *Server) standBy(ctx context.Context) (leader.Term, error) {
	soon, cancel := context.WithTimeout(ctx, electionTime)
	term, err := s.lead.Await(soon)
	cancel()
	if err == nil || ctx.Err() != nil {
		return term, err
	}
	l, err := listen(ctx, "api.listen", s.cfg.API.Listen)
	if err != nil {
		return leader.Term{}, err
	}
	conf, err := apiTLS(s.ca, s.live)
	if err != nil {
		return leader.Term{}, errors.Join(err, l.Close())
	}
	conns := s.toLeader()
	defer conns.CloseIdleConnections()
	srv := &http.Server{
		Handler: s.relay(conns), TLSConfig: conf, ReadHeaderTimeout: standbyRead,
		ErrorLog: s.log.Named("api").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(l, "", "") }()
	who, _ := s.lead.Leader()
	s.log.Info("standing by: another server leads", "leader", who.Name, "api", who.API)
	if who.Name != string(s.self.Name) { // that one has the service under the same id, if it shares our Consul agent.
		// A process of ours that was killed has left it.
		announced{c: s.consul, log: s.log.Named("consul")}.withdraw(ctx)
	}
	term, err = s.lead.Await(ctx)
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), standbyStop)
	defer done()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close() // event streams do not end by themselves; their clients come back.
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return term, err
}

// toLeader carries what is passed on. A leader that is frozen must not hold it
// up: its machine still takes connections. Only a simulation asks nodes before
// it is answered, and is waited for.
type toLeader struct{ quick, patient *http.Transport }

func (s *Server) toLeader() toLeader {
	quick := &http.Transport{
		TLSClientConfig: s.peerTLS(), ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
		DialContext:         (&net.Dialer{Timeout: leaderDial}).DialContext,
		TLSHandshakeTimeout: leaderDial, ResponseHeaderTimeout: leaderAnswer,
	}
	patient := quick.Clone()
	patient.ResponseHeaderTimeout = api.SimulateTimeout + leaderAnswer
	return toLeader{quick, patient}
}

// carrier is what waits as long as an answer to r may take.
func (t toLeader) carrier(r *http.Request) *http.Transport {
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v1/policies/") && strings.HasSuffix(r.URL.Path, "/simulate") {
		return t.patient
	}
	return t.quick
}

// RoundTrip is http.RoundTripper's.
func (t toLeader) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.carrier(r).RoundTrip(r)
}

// CloseIdleConnections drops connections that nobody uses.
func (t toLeader) CloseIdleConnections() {
	t.quick.CloseIdleConnections()
	t.patient.CloseIdleConnections()
}

// relay passes a request on to the server that leads.
func (s *Server) relay(conns http.RoundTripper) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport: conns, FlushInterval: -1, // events go on as they come.
		Rewrite: func(r *httputil.ProxyRequest) {
			who, _ := s.lead.Leader()
			r.SetURL(&url.URL{Scheme: "https", Host: who.API})
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			api.WriteError(w, mesh.Errorf(mesh.Unavailable, "the server that leads does not answer: %w", err).
				WithHint("another one takes over within 20 seconds; try again"))
		},
		ErrorLog: s.log.Named("api").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := s.lead.Leader()
		if !ok || who.API == "" || who.Name == string(s.self.Name) && who.API == reachable(s.cfg.API.Listen) {
			api.WriteError(w, mesh.Errorf(mesh.Unavailable, "no server leads at the moment").WithHint("one takes over within 20 seconds; try again"))
			return
		}
		proxy.ServeHTTP(w, r)
	})
}
