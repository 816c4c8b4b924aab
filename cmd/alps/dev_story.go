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
	"time"

	"github.com/spf13/cobra"

	"alps/cmd/alps/internal/dev"
	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

// demoRule and demoPolicy are what the cluster of `alps dev` watches and mends.
const (
	demoRule   = "web-down"
	demoPolicy = "restart-web"
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
  script   = "restart-web"
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

// dns asks one node's agent for the demo service and tells when the answer
// changes.
func (s *story) dns(ctx context.Context, server, name string) {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
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
		if err != nil {
			now = "nobody"
		}
		s.mu.Lock()
		changed := now != s.names
		s.names = now
		s.mu.Unlock()
		if changed {
			s.tell("dns         %s is %s", name, now)
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
		observer := c.Consul().Nodes()[min(1, len(c.Consul().Nodes())-1)]
		wg.Go(func() { s.dns(ctx, dev.DNSAddr(observer), "web.service."+dev.Domains()[0]+".") })
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
		fmt.Fprintf(w, "web on %s\n", node) //nolint:gosec // plain text to a demo's reader.
	})}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
