package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

// growth is how many agents are linked when the server is looked at.
func growth() []int { return []int{0, 250, 500, 1000} }

// lone is how many messages are sent one at a time.
const lone = 300

// linkRun is one run of the link benchmark.
type linkRun struct {
	env
	c      *cluster
	api    *client.Client
	server int // its pid.
	fleet  *fleet
}

// benchLink enrols a thousand agents at one real server, holds their links
// from this process, and looks at the server: what an agent costs it that
// says nothing, and what a message costs.
func benchLink(ctx context.Context, e env) error {
	c, err := startCluster(ctx, e, 1)
	if err != nil {
		return err
	}
	defer c.close()
	pids, err := c.pids("server --config")
	if err != nil {
		return err
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	defer api.Close()
	r := &linkRun{env: e, c: c, api: api, server: pids[0]}
	steps := []func(context.Context) error{r.enrol, r.grow, r.know, r.crowd, r.oneByOne}
	defer func() {
		if r.fleet != nil {
			r.fleet.close()
		}
	}()
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// enrol lets every agent in.
func (r *linkRun) enrol(ctx context.Context) error {
	n := slices.Max(growth())
	began, cpu := time.Now(), cpuOf(r.server)
	var err error
	if r.fleet, err = enrolFleet(ctx, r.c, n); err != nil {
		return err
	}
	took := time.Since(began)
	r.printf("enrol: %d agents in %.1f s, %d/s; server CPU %.2f ms each (load %s)\n\n",
		n, took.Seconds(), int(float64(n)/took.Seconds()), ms((cpuOf(r.server)-cpu)/time.Duration(n)), load())
	return nil
}

// grow links the agents in steps and shows what the server has grown by.
func (r *linkRun) grow(ctx context.Context) error {
	ctx, r.fleet.stop = context.WithCancel(ctx)
	r.printf("%6s %13s %8s %13s %10s %11s %16s %5s\n", "agents", "anonymous MB", "RSS MB", "KB per agent", "connect/s", "CPU ms each", "idle ms/agent/min", "load")
	var base, last memory
	var baseIdle float64
	have := 0
	bare, err := startFloor(ctx, slices.Max(growth())) // settles while the server does.
	if err != nil {
		return err
	}
	defer bare.close()
	for _, n := range growth() {
		began, cpu := time.Now(), cpuOf(r.server)
		if err := r.fleet.connect(ctx, r.fleet.agents[have:n]); err != nil {
			return err
		}
		took, cpu := time.Since(began), cpuOf(r.server)-cpu
		idle, err := r.idle(ctx)
		if err != nil {
			return err
		}
		m, err := memoryOf(r.server)
		if err != nil {
			return err
		}
		last = m
		if n == 0 {
			base, baseIdle = m, idle
			r.printf("%6d %13.1f %8.1f %13s %10s %11s %16s %5s\n", n, mib(m.anonymous), mib(m.resident), "", "", "", "", load())
			continue
		}
		added := time.Duration(n - have)
		r.printf("%6d %13.1f %8.1f %13.1f %10.0f %11.2f %16.2f %5s\n", n, mib(m.anonymous), mib(m.resident), perAgent(base, m, n),
			float64(added)/took.Seconds(), ms(cpu/added), (idle-baseIdle)/float64(n), load())
		have = n
	}
	ours := perAgent(base, last, have)
	floor, err := bare.perConnection()
	if err != nil {
		return err
	}
	r.printf("  a bare Go server with %d idle mutual-TLS connections: %.1f KB each; the link adds %.1f KB (x %.2f)\n", have, floor, ours-floor, ours/floor)
	r.printf("  target: 35 KB per agent\n\n")
	return nil
}

// idle waits until the server has settled and returns how many milliseconds
// of CPU it then uses in a minute.
func (r *linkRun) idle(ctx context.Context) (float64, error) {
	if err := sleep(ctx, settle); err != nil {
		return 0, err
	}
	cpu := cpuOf(r.server)
	if err := sleep(ctx, observe); err != nil {
		return 0, err
	}
	return ms(cpuOf(r.server)-cpu) / observe.Minutes(), nil
}

// perAgent is the anonymous memory, in KB, that each of n has added.
func perAgent(before, after memory, n int) float64 {
	return float64(after.anonymous-before.anonymous) / 1024 / float64(n)
}

// know fills the inventory: every agent says what its node is.
func (r *linkRun) know(ctx context.Context) error {
	before, err := memoryOf(r.server)
	if err != nil {
		return err
	}
	m, err := r.api.Members(ctx)
	if err != nil || len(m.Members) == 0 {
		return fmt.Errorf("ask for a datacenter: %w", err)
	}
	n := len(r.fleet.agents)
	began, cpu := time.Now(), cpuOf(r.server)
	if err := r.fleet.sayFacts(ctx, m.Members[0].DC); err != nil {
		return err
	}
	taken := time.Since(began)
	if err := poll(ctx, 500*time.Millisecond, func() (bool, error) {
		list, err := r.api.Nodes(ctx, v1.NodeFilter{Query: "role=bench agent=linked os=linux", Limit: 1})
		return list.Total == n, err
	}); err != nil {
		return err
	}
	took, cpu := time.Since(began), cpuOf(r.server)-cpu
	if err := sleep(ctx, settle+observe); err != nil {
		return err
	}
	after, err := memoryOf(r.server)
	if err != nil {
		return err
	}
	r.printf("facts: of %d agents at once, acknowledged in %.2f s, in KV and in the inventory after %.1f s;\n"+
		"  server CPU %.2f ms each, %.1f KB more for each, now %.1f MB anonymous (load %s)\n\n",
		n, taken.Seconds(), took.Seconds(), ms(cpu/time.Duration(n)), perAgent(before, after, n), mib(after.anonymous), load())
	return nil
}

// submit makes a job for the whole fleet. It is published and signed as any
// other; the fleet runs nothing and reports what it likes.
func (r *linkRun) submit(ctx context.Context) (mesh.JobID, error) {
	s, err := r.api.Submit(ctx, v1.JobRequest{Target: "role=bench", Command: []string{"hostname"}})
	if err != nil {
		return "", err
	}
	if s.Job == nil {
		return "", fmt.Errorf("the server did not take the job: %s", s.Warning)
	}
	return s.Job.ID, sleep(ctx, 2*time.Second) // it is published meanwhile.
}

// crowd makes all agents report a whole job at the same time.
func (r *linkRun) crowd(ctx context.Context) error {
	job, err := r.submit(ctx)
	if err != nil {
		return err
	}
	n := len(r.fleet.agents)
	began, cpu := time.Now(), cpuOf(r.server)
	if err := r.fleet.sayEnded(ctx, job); err != nil {
		return err
	}
	took := time.Since(began)
	if err := sleep(ctx, time.Second); err != nil { // events, counts.
		return err
	}
	cpu = cpuOf(r.server) - cpu
	got, err := r.api.Job(ctx, string(job))
	if err != nil {
		return err
	}
	if ok := got.Counts[mesh.OK]; ok != n {
		return fmt.Errorf("the server counts %d of %d as OK", ok, n)
	}
	r.printf("crowd: a job's %d reports (ACKED, RUNNING, OK with its own output) of %d agents at once, all taken\n"+
		"  and every end stored after %.2f s, %.0f/s; server CPU %.3f ms a report (load %s)\n\n",
		3*n, n, took.Seconds(), float64(3*n)/took.Seconds(), ms(cpu)/float64(3*n), load())
	return nil
}

// oneByOne measures how long a message takes that travels alone, from Send to
// its acknowledgement. Two milliseconds of it are the server's wait for company.
func (r *linkRun) oneByOne(ctx context.Context) error {
	job, err := r.submit(ctx)
	if err != nil {
		return err
	}
	agents := r.fleet.agents[:lone]
	r.printf("%-64s %8s %8s %14s %5s\n", "one message at a time", "p50 ms", "p99 ms", "server CPU ms", "load")
	report := func(s mesh.State) func(int) (*agent, error) {
		return func(i int) (*agent, error) { return agents[i], agents[i].report(job, s) }
	}
	// The inventory knows these facts after the first: what is measured is the link.
	fact := func(int) (*agent, error) {
		o := mesh.Observation{Node: agents[0].id.NodeID(), At: time.Now().UTC(), Facts: mesh.Facts{Name: agents[0].name}}
		return agents[0], agents[0].send(frame.Fact, o, false)
	}
	for _, row := range []struct {
		what string
		send func(int) (*agent, error)
	}{
		{"facts of one agent, handed to the inventory in memory", fact},
		{"reports of ACKED, in the ledger; stored within half a second", report(mesh.Acked)},
		{"reports of OK, synced to the agent's disk and to the store", report(mesh.OK)},
	} {
		if err := r.lone(ctx, row.what, row.send); err != nil {
			return err
		}
	}
	return nil
}

func (r *linkRun) lone(ctx context.Context, what string, send func(int) (*agent, error)) error {
	took := make([]time.Duration, lone)
	cpu := cpuOf(r.server)
	for i := range took {
		began := time.Now()
		a, err := send(i)
		if err != nil {
			return err
		}
		if err := delivered(ctx, []*agent{a}, 50*time.Microsecond); err != nil {
			return err
		}
		took[i] = time.Since(began)
	}
	cpu = cpuOf(r.server) - cpu
	slices.Sort(took)
	r.printf("%-64s %8.2f %8.2f %14.3f %5s\n", what, ms(took[lone/2]), ms(took[lone*99/100]), ms(cpu)/lone, load())
	return nil
}
