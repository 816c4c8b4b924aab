package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

// demoRules is the server's rules.d: HOOK is where the story is told, CTL the
// control script of the demo service.
const demoRules = `receiver "story" {
  url = "HOOK"
}

rule "web-down" {
  check    = "web"
  status   = "critical"
  for      = "5s"
  severity = "critical"
  summary  = "the demo service does not answer"
  notify   = ["story"]
}

policy "restart-web" {
  rule     = "web-down"
  script   = "restart-service"
  args     = ["CTL"]
  mode     = "auto"
  cooldown = "10s"
  per_hour = 30
  verify   = "20s"
}
`

// story tells what happens on a dev cluster, one line a step. Its methods are
// called from several goroutines.
type story struct {
	out io.Writer

	mu    sync.Mutex
	told  map[mesh.IncidentID]int // lines of the timeline.
	names string                  // what DNS answered last.
}

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "  %s  %s\n", time.Now().Format("15:04:05.000"), printable(fmt.Sprintf(format, args...)))
}

// hook listens for the webhook of the demo rule, as any receiver would.
func (s *story) hook(ctx context.Context) (url string, run func(context.Context), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(s.webhook), ReadHeaderTimeout: 5 * time.Second}
	run = func(ctx context.Context) {
		stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
		defer stop()
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.tell("webhooks are not received any more: %v", err)
		}
	}
	return "http://" + l.Addr().String() + "/story", run, nil
}

func (s *story) webhook(w http.ResponseWriter, r *http.Request) {
	var m struct{ Status, Rule, Node string }
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &m) != nil {
		http.Error(w, "not a notification", http.StatusBadRequest)
		return
	}
	s.tell("webhook     %s is %s on %s", m.Rule, m.Status, m.Node)
}

// incidents follows the incidents and tells each new line of their stories.
func (s *story) incidents(ctx context.Context, c *client.Client) {
	for e, err := range c.Events(ctx, []string{"incident"}, "") {
		if err != nil || e.Type == v1.EventReset {
			continue
		}
		id := strings.TrimPrefix(e.Topic, "incident/")
		i, err := c.Incident(ctx, id)
		if err != nil {
			continue // the next event of the same incident tells it all.
		}
		s.incident(i)
	}
}

func (s *story) incident(i mesh.Incident) {
	s.mu.Lock()
	from := min(s.told[i.ID], len(i.Timeline))
	s.told[i.ID] = len(i.Timeline)
	s.mu.Unlock()
	for _, e := range i.Timeline[from:] {
		s.tell("%-11s %s: %s", e.Kind, i.Node, e.Text)
	}
}

// dnsPoll is how often the story looks whom DNS answers.
const dnsPoll = 100 * time.Millisecond

// dns asks the agents for the demo service, the next one when one does not
// answer, and tells when the answer changes. That nobody is there is told only
// after somebody was: at the start the names are still on their way.
func (s *story) dns(ctx context.Context, servers []string, name string) {
	var at atomic.Int32 // a lookup that was given up may still read it.
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, servers[int(at.Load())%len(servers)])
	}}
	tick := time.NewTicker(dnsPoll)
	defer tick.Stop()
	for {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		list, err := r.LookupHost(ask, name)
		cancel()
		if ctx.Err() != nil {
			return
		}
		slices.Sort(list)
		now := strings.Join(list, " ")
		if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
			now = "nobody"
		}
		s.mu.Lock()
		changed := now != "" && now != s.names && (s.names != "" || now != "nobody")
		if changed {
			s.names = now
		}
		s.mu.Unlock()
		switch {
		case changed:
			s.tell("dns         %s is %s", strings.TrimSuffix(name, "."), now)
		case now == "":
			at.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// run follows everything until ctx ends.
func (s *story) run(ctx context.Context, c *dev.Cluster, hooks func(context.Context)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { hooks(ctx) })
	wg.Go(func() { s.incidents(ctx, c.Client()) })
	if len(c.Webs()) > 0 {
		var servers []string
		for _, n := range c.Consul().Nodes() {
			servers = append(servers, dev.DNSAddr(n))
		}
		wg.Go(func() { s.dns(ctx, servers, "web.service."+dev.Domains()[0]+".") })
	}
}

func newDevWeb(a *app) *cobra.Command {
	var listen, node string
	c := &cobra.Command{
		Use: "web", Hidden: true, Short: "The demo service, where there is no nginx", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.devWeb(cmd.Context(), listen, node) },
	}
	c.Flags().StringVar(&listen, "listen", "", "host:port")
	c.Flags().StringVar(&node, "node", "", "the node that it runs on")
	return c
}

func (a *app) devWeb(ctx context.Context, listen, node string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return mesh.Errorf(mesh.Unavailable, "listen on %s: %w", listen, err)
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "web on %s\n", node)
	})}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
