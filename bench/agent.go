package main

import (
	"context"
	"time"
)

const (
	// settle and observe together are how long a process is left alone before
	// its memory is looked at. Go collects garbage at least every two minutes
	// and then gives back what it does not need: before that one sees what the
	// last crowd has left lying about.
	settle = 80 * time.Second
	// observe is how long its CPU is looked at: two pings of a link, one poll
	// of an agent.
	observe = 60 * time.Second
	// jobsBefore is how many jobs an agent has run before: one that was just
	// started has not yet needed what it will keep.
	jobsBefore = 20
)

// benchAgent runs some jobs on a cluster, lets it stand still and looks at its
// agents.
func benchAgent(ctx context.Context, e env) error {
	c, err := startCluster(ctx, e, 5)
	if err != nil {
		return err
	}
	defer c.close()
	pids, err := c.pids("agent --config")
	if err != nil {
		return err
	}
	for range jobsBefore {
		if _, err := c.runIn(ctx, e.alps, "exec", "-t", "all", "--", "uptime"); err != nil {
			return err
		}
	}
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	cpu, wakeups := make([]time.Duration, len(pids)), make([]int, len(pids))
	for i, pid := range pids {
		cpu[i], wakeups[i] = cpuOf(pid), wakeupsOf(pid)
	}
	if err := sleep(ctx, observe); err != nil {
		return err
	}
	e.printf("%8s %14s %10s %14s %10s\n", "pid", "anonymous MB", "RSS MB", "CPU % of core", "wakeups/s")
	for i, pid := range pids {
		m, err := memoryOf(pid)
		if err != nil {
			return err
		}
		e.printf("%8d %14.1f %10.1f %14.3f %10.1f\n", pid, mib(m.anonymous), mib(m.resident),
			100*(cpuOf(pid)-cpu[i]).Seconds()/observe.Seconds(), float64(wakeupsOf(pid)-wakeups[i])/observe.Seconds())
	}
	e.printf("  target: anonymous under 20, RSS under 50, CPU under 0.20 (load at the end %s)\n", load())
	return nil
}
