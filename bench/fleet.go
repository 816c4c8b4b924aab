package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"alps/agent/fact"
	"alps/agent/link"
	"alps/mesh"
	"alps/mesh/frame"
	v1 "alps/server/api/v1"
)

// fleet is many agents in this process. Each has enrolled, has an identity and
// a spool of its own, and speaks to the server as a real one does; nothing of
// what it says has happened.
type fleet struct {
	dir    string
	agents []*agent
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

type agent struct {
	name mesh.NodeName
	id   *link.Identity
	link *link.Link
}

// linkPort is where `alps dev` puts the link of its server.
const linkPort = "8781"

// atOnce is how many enrol, or connect from one process, at a time.
const atOnce = 16

// enrolFleet enrols n nodes over HTTPS with one reusable join token.
func enrolFleet(ctx context.Context, c *cluster, n int) (*fleet, error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	defer api.Close()
	token, err := api.CreateJoinToken(ctx, v1.JoinTokenRequest{Reusable: true, TTL: 3600})
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(c.getenv("ALPS_ADDR"))
	if err != nil {
		return nil, err
	}
	f := &fleet{agents: make([]*agent, n), stop: func() {}}
	if f.dir, err = os.MkdirTemp("", "alps-bench-fleet-*"); err != nil {
		return nil, err
	}
	server := net.JoinHostPort(host, linkPort)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error {
			var err error
			f.agents[i], err = enrolAgent(gctx, i, filepath.Join(f.dir, fmt.Sprint(i)), link.EnrolOptions{Token: token.Text, Servers: []string{server}})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func enrolAgent(ctx context.Context, i int, dir string, o link.EnrolOptions) (*agent, error) {
	// As on an estate: twenty-five racks of forty.
	a := &agent{name: mesh.NodeName(fmt.Sprintf("bj-e-bench01-%d-%d", 100+i/40, 1+i%40))}
	o.DataDir, o.Evidence = dir, frame.Evidence{Hostname: string(a.name), MachineID: machineID(i)}
	var err error
	if a.id, err = link.Enrol(ctx, o); err != nil {
		return nil, err
	}
	nothing := func(context.Context, []byte) error { return nil }
	a.link, err = link.New(link.Options{
		Identity: a.id, SpoolDir: filepath.Join(dir, "spool"), Servers: link.Fixed(o.Servers...), Name: a.name, Release: "bench",
		Handlers: map[frame.Kind]link.Handler{frame.Want: nothing, frame.Config: nothing},
	})
	return a, err
}

func machineID(i int) string { return fmt.Sprintf("%032x", i+1) }

// connect starts the links of some agents and returns when all are up.
func (f *fleet) connect(ctx context.Context, agents []*agent) error {
	for _, a := range agents {
		f.wg.Go(func() { _ = a.link.Run(ctx) }) // its error is of the spool's last close.
	}
	return poll(ctx, 5*time.Millisecond, func() (bool, error) {
		for _, a := range agents {
			if st := a.link.Status(); !st.Connected {
				if st.LastError != nil {
					return false, st.LastError
				}
				return false, nil
			}
		}
		return true, nil
	})
}

// delivered returns when the server has committed all that agents have sent.
func delivered(ctx context.Context, agents []*agent, every time.Duration) error {
	return poll(ctx, every, func() (bool, error) {
		for _, a := range agents {
			st := a.link.Status()
			if st.LastRefusal != nil {
				return false, st.LastRefusal
			}
			if st.Spool.Waiting > 0 {
				return false, nil
			}
		}
		return true, nil
	})
}

// close ends all links and removes what is on the disk.
func (f *fleet) close() {
	f.stop()
	f.wg.Wait()
	_ = os.RemoveAll(f.dir) // temporary.
}

// sayFacts sends the facts of this machine under each agent's name.
func (f *fleet) sayFacts(ctx context.Context, dc string) error {
	found, err := fact.Collect(ctx, "/")
	if err != nil && found.OS == "" {
		return err
	}
	for i, a := range f.agents {
		found.Name, found.DC, found.Host, found.MachineID, found.Agent = a.name, dc, string(a.name), machineID(i), "bench"
		if err := a.send(frame.Fact, mesh.Observation{
			Node: a.id.NodeID(), Collector: fact.CollectorName, At: time.Now().UTC(), Facts: found,
		}, false); err != nil {
			return err
		}
	}
	return delivered(ctx, f.agents, 5*time.Millisecond)
}

// sayEnded makes every agent go through a job at once: three reports each,
// each end with an output of its own.
func (f *fleet) sayEnded(ctx context.Context, job mesh.JobID) error {
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for a := range slices.Values(f.agents) {
		wg.Go(func() {
			for _, s := range []mesh.State{mesh.Acked, mesh.Running, mesh.OK} {
				if err := a.report(job, s); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return delivered(ctx, f.agents, 5*time.Millisecond)
}

// report says how a job goes on this node. An end is durable, as in an agent.
func (a *agent) report(job mesh.JobID, s mesh.State) error {
	now := time.Now().UTC()
	r := mesh.Report{Job: job, Attempt: 1, Node: a.id.NodeID(), State: s, Woke: mesh.WokeWatch, At: now}
	if s.Ended() {
		out := []byte(a.name + "\n")
		r.Started, r.Ended = now, now
		r.Stdout = mesh.Output{Bytes: int64(len(out)), Digest: mesh.Digest(out), Inline: out}
	}
	return a.send(frame.Exec, r, s.Ended())
}

func (a *agent) send(k frame.Kind, v any, durable bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.link.Send(k, b, durable)
}

// patience is how long anything here may take.
const patience = 2 * time.Minute

// poll asks every so often until ok says true, fails, or ctx ends.
func poll(ctx context.Context, every time.Duration, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if err := sleep(ctx, every); err != nil {
			return err
		}
	}
}
