package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"alps/mesh"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

const (
	loopRounds = 20
	// loopEvery is how often names are asked for: what is told of names is at
	// most that much too late.
	loopEvery = 5 * time.Millisecond
	// loopPatience is how long one step of a round may take.
	loopPatience = 30 * time.Second
	// phase is more than the period of everything that asks: a fault falls
	// anywhere in it.
	phase = time.Second

	shopName    = "shop"        // checked and named by ALPS.
	shopNative  = "shop-consul" // the same sockets, checked and named by Consul.
	alpsDNSPort = "8653"
	theirsPort  = "8600"
)

// benchLoop breaks a service again and again, and looks at how soon its
// address is out of DNS elsewhere and how soon somebody is told.
func benchLoop(ctx context.Context, e env) error {
	for _, tool := range []string{promTool, alertTool} {
		if !installed(tool) {
			return fmt.Errorf("%s is missing: apt-get install prometheus prometheus-alertmanager", tool)
		}
	}
	c, err := startCluster(ctx, e, 5)
	if err != nil {
		return err
	}
	defer c.close()
	r := &loopRun{env: e, c: c}
	defer r.close()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.costs(); err != nil {
		return err
	}
	began := time.Now()
	for i := range loopRounds {
		if err := r.round(ctx, r.shops[i%len(r.shops)], true); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	r.print(time.Since(began))
	return nil
}

// loopRun is one run of the loop benchmark.
type loopRun struct {
	env
	c        *cluster
	api      *client.Client
	hook     *hook
	peer     *peer
	shops    []*shop
	observer netip.Addr // of a node without a shop, whose name servers are asked.
	sides    []*loopSide
	seen     loopFigures
}

// loopSide is the processes of one part of the two systems.
type loopSide struct {
	name string
	pids []int
	mark time.Duration
}

// loopFigures are what the rounds have shown, an entry for each.
type loopFigures struct {
	gone, goneNative, told, toldPeer  []time.Duration // since the fault.
	back, backNative, over, overPeer  []time.Duration // since it is mended.
	noticed, opened, posted, unlisted []time.Duration // the hops of ours.
}

func (r *loopRun) close() {
	for _, s := range r.shops {
		s.kill()
	}
	if r.peer != nil {
		r.peer.close()
	}
	if r.hook != nil {
		r.hook.close()
	}
	if r.api != nil {
		r.api.Close()
	}
}

// prepare starts the service on three nodes and both systems' eyes on it, and
// returns when a first round has shown that all of it works.
func (r *loopRun) prepare(ctx context.Context) error {
	var err error
	if r.api, err = r.c.client(); err != nil {
		return err
	}
	if r.hook, err = newHook(ctx); err != nil {
		return err
	}
	if err := r.openShops(ctx); err != nil {
		return err
	}
	if err := r.watchShops(); err != nil {
		return err
	}
	if r.peer, err = startPeer(ctx, r.shops, r.hook.url(whoPeer)); err != nil {
		return err
	}
	if err := r.await(ctx, "the name has all addresses", func(ctx context.Context) bool {
		return r.lists(ctx, r.alpsDNS(), shopName, r.shops...) && r.lists(ctx, r.consulDNS(), shopNative, r.shops...)
	}); err != nil {
		return err
	}
	// Connections are opened and incidents are new the first time; with each
	// shop's first fault behind them all rounds are alike.
	for _, s := range r.shops {
		if err := r.round(ctx, s, false); err != nil {
			return fmt.Errorf("a round that is not counted: %w", err)
		}
	}
	return nil
}

// openShops starts a shop on each node but the first two.
func (r *loopRun) openShops(ctx context.Context) error {
	list, err := r.api.Nodes(ctx, v1.NodeFilter{})
	if err != nil {
		return err
	}
	nodes := list.Nodes
	slices.SortFunc(nodes, func(a, b mesh.Node) int { return strings.Compare(a.Address, b.Address) })
	if len(nodes) < 3 {
		return fmt.Errorf("the cluster has %d nodes", len(nodes))
	}
	if r.observer, err = netip.ParseAddr(nodes[1].Address); err != nil {
		return err
	}
	for _, n := range nodes[2:] {
		s, err := newShop(ctx, string(n.Name), n.Address)
		if err != nil {
			return err
		}
		r.shops = append(r.shops, s)
	}
	return nil
}

// watchShops has the agents check their shop and the server tell of it.
func (r *loopRun) watchShops() error {
	for _, s := range r.shops {
		text := fmt.Sprintf(`service %[3]q {
  address = %[1]q
  port    = %[2]d
  check %[3]q {
    http     = "http://%[1]s:%[2]d/"
    interval = "1s"
    timeout  = "500ms"
  }
}
service %[4]q {
  address = %[1]q
  port    = %[2]d
  check %[4]q {
    http     = "http://%[1]s:%[2]d/"
    interval = "1s"
    timeout  = "500ms"
    runner   = "consul"
  }
}
`, s.host, s.port, shopName, shopNative)
		dir := filepath.Join(r.c.dir, "agent", s.node)
		if err := r.define(filepath.Join(dir, "checks.d", "shop.hcl"), text, filepath.Join(dir, "agent.hcl")); err != nil {
			return err
		}
	}
	rules := fmt.Sprintf(`receiver "hook" { url = %q }
rule "shop-down" {
  check  = %q
  for    = "0s"
  notify = ["hook"]
}
`, r.hook.url(whoAlps), shopName)
	dir := filepath.Join(r.c.dir, "server")
	// The file of the tour is replaced: its policy would mend what it knows.
	return r.define(filepath.Join(dir, "rules.d", "rules.hcl"), rules, filepath.Join(dir, "server.hcl"))
}

// define writes a file and has the daemon of a configuration read it.
func (r *loopRun) define(path, text, config string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	pids, err := r.c.pids("--config " + config)
	if err != nil {
		return err
	}
	return syscall.Kill(pids[0], syscall.SIGHUP)
}

// costs marks what both systems have used so far.
func (r *loopRun) costs() error {
	server, err := r.c.pids("server --config")
	if err != nil {
		return err
	}
	agents, err := r.c.pids("agent --config")
	if err != nil {
		return err
	}
	r.sides = []*loopSide{
		{name: "alps server", pids: server},
		{name: "five alps agents", pids: agents},
		{name: "Prometheus", pids: []int{r.peer.prom.Process.Pid}},
		{name: "Alertmanager", pids: []int{r.peer.alert.Process.Pid}},
	}
	for _, s := range r.sides {
		s.mark = cpuOf(s.pids...)
	}
	return nil
}

// round breaks one shop, waits until everybody knows, mends it and waits until
// everybody knows that.
func (r *loopRun) round(ctx context.Context, s *shop, counts bool) error {
	if err := sleep(ctx, rand.N(phase)); err != nil {
		return err
	}
	r.hook.forget()
	others := slices.DeleteFunc(slices.Clone(r.shops), func(o *shop) bool { return o == s })
	broke := time.Now()
	s.kill()
	down, err := r.everybody(ctx, s, stateFiring, others)
	if err != nil {
		return err
	}
	noticed, opened, err := r.hops(ctx, s)
	if err != nil {
		return err
	}
	if err := sleep(ctx, rand.N(phase)); err != nil {
		return err
	}
	r.hook.forget()
	if err := s.open(ctx); err != nil {
		return err
	}
	mended := time.Now()
	up, err := r.everybody(ctx, s, stateResolved, r.shops)
	if err != nil || !counts {
		return err
	}
	f := &r.seen
	f.gone = append(f.gone, down.name.Sub(broke))
	f.goneNative = append(f.goneNative, down.native.Sub(broke))
	f.told = append(f.told, down.told.Sub(broke))
	f.toldPeer = append(f.toldPeer, down.peer.Sub(broke))
	f.back = append(f.back, up.name.Sub(mended))
	f.backNative = append(f.backNative, up.native.Sub(mended))
	f.over = append(f.over, up.told.Sub(mended))
	f.overPeer = append(f.overPeer, up.peer.Sub(mended))
	f.noticed = append(f.noticed, noticed.Sub(broke))
	f.opened = append(f.opened, opened.Sub(noticed))
	f.posted = append(f.posted, down.told.Sub(opened))
	f.unlisted = append(f.unlisted, down.name.Sub(noticed))
	return nil
}

// known is when each has got to know something.
type known struct{ name, native, told, peer time.Time }

// everybody waits until both name servers list just the shops in list, and
// both receivers were told a state of s.
func (r *loopRun) everybody(ctx context.Context, s *shop, state string, list []*shop) (known, error) {
	var k known
	g, gctx := errgroup.WithContext(ctx)
	for _, q := range []struct {
		server, name string
		at           *time.Time
	}{{r.alpsDNS(), shopName, &k.name}, {r.consulDNS(), shopNative, &k.native}} {
		g.Go(func() error {
			err := r.await(gctx, q.name+" is right in DNS", func(ctx context.Context) bool { return r.lists(ctx, q.server, q.name, list...) })
			*q.at = time.Now()
			return err
		})
	}
	for _, h := range []struct {
		who string
		at  *time.Time
	}{{whoAlps, &k.told}, {whoPeer, &k.peer}} {
		g.Go(func() error {
			return r.await(gctx, fmt.Sprintf("%s says %s of %s", h.who, state, s.node), func(context.Context) (ok bool) {
				*h.at, ok = r.hook.when(h.who, s, state)
				return ok
			})
		})
	}
	return k, g.Wait()
}

func (r *loopRun) await(ctx context.Context, what string, ok func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, loopPatience)
	defer cancel()
	tick := time.NewTicker(loopEvery)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

func (r *loopRun) alpsDNS() string   { return net.JoinHostPort(r.observer.String(), alpsDNSPort) }
func (r *loopRun) consulDNS() string { return net.JoinHostPort(r.observer.String(), theirsPort) }

// lists reports whether a name server gives just the addresses of these shops
// for a service.
func (r *loopRun) lists(ctx context.Context, server, service string, shops ...*shop) bool {
	res := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	got, err := res.LookupHost(ctx, service+".service.consul.")
	if err != nil {
		return false
	}
	slices.Sort(got)
	want := make([]string, len(shops))
	for i, s := range shops {
		want[i] = s.host
	}
	slices.Sort(want)
	return slices.Equal(got, want)
}

// hops are when the agent's check has ended that saw the fault, and when the
// incident of it was opened, or opened again.
func (r *loopRun) hops(ctx context.Context, s *shop) (noticed, opened time.Time, err error) {
	list, err := r.api.Incidents(ctx, v1.IncidentFilter{Rule: "shop-down", Status: []mesh.IncidentStatus{mesh.IncidentOpen}})
	if err != nil {
		return noticed, opened, err
	}
	for _, i := range list.Incidents {
		if string(i.Node) != s.node {
			continue
		}
		i, err := r.api.Incident(ctx, string(i.ID))
		if err != nil {
			return noticed, opened, err
		}
		for _, ev := range i.Timeline {
			if ev.Kind == mesh.EventOpened || ev.Kind == mesh.EventReopened {
				opened = ev.At
			}
		}
		state, err := r.api.NodeChecks(ctx, s.node)
		if err != nil {
			return noticed, opened, err
		}
		for _, c := range state.Checks {
			if c.Result.Check == shopName {
				return c.Result.HardSince, opened, nil
			}
		}
	}
	return noticed, opened, errors.New("the incident is not open")
}

func (r *loopRun) print(took time.Duration) {
	f := &r.seen
	r.printf("%-36s %-28s %9s %18s\n", "from the fault until", "", "median s", "range s")
	row := func(what, who string, l []time.Duration) {
		r.printf("%-36s %-28s %9.3f %18s\n", what, who, median(l).Seconds(),
			fmt.Sprintf("%.3f-%.3f", slices.Min(l).Seconds(), slices.Max(l).Seconds()))
	}
	row("its address is out of DNS elsewhere", "alps", f.gone)
	row("", "Consul's check and DNS", f.goneNative)
	row("the webhook is told", "alps", f.told)
	row("", "Prometheus and Alertmanager", f.toldPeer)
	r.printf("from the repair until\n")
	row("its address is in DNS elsewhere", "alps", f.back)
	row("", "Consul's check and DNS", f.backNative)
	row("the webhook is told", "alps", f.over)
	row("", "Prometheus and Alertmanager", f.overPeer)
	r.printf("where alps spends it\n")
	row("fault, result of the check", "waits for its turn", f.noticed)
	row("result, out of DNS elsewhere", "link, zone, link", f.unlisted)
	row("result, incident", "link, rule, store", f.opened)
	row("incident, webhook", "outbox, HTTP", f.posted)
	r.printf("  alps / peer, medians: out of DNS %.2f, webhook %.2f; after the repair %.2f and %.2f\n",
		ratio(f.gone, f.goneNative), ratio(f.told, f.toldPeer), ratio(f.back, f.backNative), ratio(f.over, f.overPeer))
	for _, s := range r.sides {
		var sum memory
		for _, pid := range s.pids {
			if m, err := memoryOf(pid); err == nil {
				sum.anonymous += m.anonymous
				sum.resident += m.resident
			}
		}
		r.printf("  %-18s %5.2f %% of a core, %6.1f MB anonymous, %6.1f MB RSS\n", s.name,
			100*(cpuOf(s.pids...)-s.mark).Seconds()/took.Seconds(), mib(sum.anonymous), mib(sum.resident))
	}
	r.printf("  targets: out of DNS at most 2.5; webhook median 0.5, at most 1.0 (%d rounds in %.0f s, load %s)\n", loopRounds, took.Seconds(), load())
}

func ratio(a, b []time.Duration) float64 { return median(a).Seconds() / median(b).Seconds() }
