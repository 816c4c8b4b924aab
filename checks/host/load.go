package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"alps/checks"
	"alps/mesh"
)

// load looks at how many tasks run or wait for a disk, for each core.
type load struct{ tree tree }

func (l load) Run(_ context.Context, s *checks.Settings) checks.Result {
	warn, critical := s.Number("warn"), s.Number("critical")
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	averages, err := l.tree.averages()
	if err != nil {
		return checks.Unknown("read the load: %v", err)
	}
	stat, err := l.tree.text("proc/stat")
	if err != nil {
		return checks.Unknown("count the cores: %v", err)
	}
	cores := countCores(stat)
	if cores == 0 {
		return checks.Unknown("count the cores: there are none in proc/stat")
	}
	// Of one, five and fifteen minutes the middle: one jumps, fifteen tells of
	// what is over.
	each := averages.five / float64(cores)
	f := checks.Findings{Samples: []mesh.Sample{
		{Name: "load5_per_core", Value: each, Warn: checks.Bound(warn), Crit: checks.Bound(critical)},
		{Name: "load1", Value: averages.one},
		{Name: "load5", Value: averages.five},
		{Name: "load15", Value: averages.fifteen},
	}}
	switch {
	case each > critical:
		f.Add(mesh.HealthCritical, "more than %s tasks for each of %d cores", checks.Bound(critical), cores)
	case each > warn:
		f.Add(mesh.HealthWarning, "more than %s tasks for each of %d cores", checks.Bound(warn), cores)
	}
	return f.Result(fmt.Sprintf("the load on %d cores is low", cores))
}

// averages is what the kernel says of its run queues.
type averages struct {
	one, five, fifteen float64
	tasks              int // processes and threads.
}

func (t tree) averages() (averages, error) {
	text, err := t.text("proc/loadavg")
	if err != nil {
		return averages{}, err
	}
	return parseLoad(text)
}

// parseLoad reads `0.20 0.18 0.12 1/80 11206`.
func parseLoad(text string) (averages, error) {
	words := strings.Fields(text)
	if len(words) < 4 {
		return averages{}, errors.New("loadavg makes no sense")
	}
	var a averages
	for i, to := range []*float64{&a.one, &a.five, &a.fifteen} {
		v, err := strconv.ParseFloat(words[i], 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return averages{}, errors.New("loadavg makes no sense")
		}
		*to = v
	}
	_, all, _ := strings.Cut(words[3], "/")
	n, err := strconv.ParseUint(all, 10, 31)
	if err != nil {
		return averages{}, errors.New("loadavg makes no sense")
	}
	a.tasks = int(n)
	return a, nil
}

// countCores counts the lines cpu0, cpu1 and so on.
func countCores(stat string) int {
	n := 0
	for line := range strings.Lines(stat) {
		name, _, _ := strings.Cut(line, " ")
		if _, err := strconv.ParseUint(strings.TrimPrefix(name, "cpu"), 10, 31); err == nil && strings.HasPrefix(name, "cpu") {
			n++
		}
	}
	return n
}
