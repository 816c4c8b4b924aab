package host

import (
	"context"
	"fmt"
	"math"
	"syscall"
	"time"

	"alps/checks"
	"alps/mesh"
)

// clock compares the node's clock with the server's. Without a server it asks
// the kernel whether somebody keeps the clock right.
type clock struct {
	skew   func() (time.Duration, bool)
	synced func() (bool, error)
}

func (c clock) Run(_ context.Context, s *checks.Settings) checks.Result {
	warn, critical := s.Duration("warn"), s.Duration("critical")
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	if c.skew != nil {
		if ahead, ok := c.skew(); ok {
			return compare(ahead, warn, critical)
		}
	}
	synced, err := c.synced()
	switch {
	case err != nil:
		return checks.Unknown("ask the kernel for its clock: %v", err)
	case !synced:
		return checks.Result{Status: mesh.HealthWarning, Output: "nobody keeps the clock right, and no server is there to compare with"}
	}
	return checks.Result{Status: mesh.HealthPassing, Output: "the kernel's clock is kept right"}
}

func compare(ahead time.Duration, warn, critical float64) checks.Result {
	off := math.Abs(ahead.Seconds())
	f := checks.Findings{Samples: []mesh.Sample{
		{Name: "ahead", Value: ahead.Seconds(), Unit: "s", Warn: around(warn), Crit: around(critical)},
	}}
	side := "ahead of"
	if ahead < 0 {
		side = "behind"
	}
	switch {
	case off > critical:
		f.Add(mesh.HealthCritical, "the clock is more than %s %s the server's", seconds(critical), side)
	case off > warn:
		f.Add(mesh.HealthWarning, "the clock is more than %s %s the server's", seconds(warn), side)
	}
	return f.Result("the clock agrees with the server's")
}

// around is the range of perfdata that alerts on both sides of zero.
func around(v float64) string {
	if s := checks.Bound(v); s != "" {
		return fmt.Sprintf("-%s:%s", s, s)
	}
	return ""
}

func seconds(v float64) string { return time.Duration(v * float64(time.Second)).String() }

// timeError is the state of a kernel clock that nobody disciplines.
const timeError = 5

// kernelSynced asks the kernel, which anybody may.
func kernelSynced() (bool, error) {
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	if err != nil {
		return false, err
	}
	return state != timeError, nil
}
