package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"alps/checks"
	"alps/mesh"
)

// processes looks at how many tasks there are, and for zombies.
type processes struct{ tree tree }

func (p processes) Run(ctx context.Context, s *checks.Settings) checks.Result {
	warn, critical, most := s.Percent("warn"), s.Percent("critical"), s.Number("zombies")
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	averages, err := p.tree.averages()
	if err != nil {
		return checks.Unknown("count the tasks: %v", err)
	}
	limit, err := p.limit()
	if err != nil {
		return checks.Unknown("read the limit of tasks: %v", err)
	}
	zombies, err := p.zombies(ctx)
	if err != nil {
		return checks.Unknown("count the zombies: %v", err)
	}
	share := 100 * float64(averages.tasks) / float64(limit)
	f := checks.Findings{Samples: []mesh.Sample{
		{Name: "tasks", Value: float64(averages.tasks), Max: strconv.Itoa(limit)},
		{Name: "tasks_used", Value: share, Unit: "%", Warn: checks.Bound(warn), Crit: checks.Bound(critical)},
		{Name: "zombies", Value: float64(zombies), Warn: checks.Bound(most)},
	}}
	switch {
	case share > critical:
		f.Add(mesh.HealthCritical, "more than %s%% of the %d tasks that the kernel allows", checks.Bound(critical), limit)
	case share > warn:
		f.Add(mesh.HealthWarning, "more than %s%% of the %d tasks that the kernel allows", checks.Bound(warn), limit)
	}
	if float64(zombies) > most {
		f.Add(mesh.HealthWarning, "more than %s zombies", checks.Bound(most))
	}
	return f.Result("there is room for processes")
}

// limit is the lesser of the kernel's two limits. One that is not there, as in
// some containers, does not count.
func (p processes) limit() (int, error) {
	least, problem := 0, error(nil)
	for _, name := range []string{"pid_max", "threads-max"} {
		text, err := p.tree.text("proc/sys/kernel/" + name)
		if err != nil {
			problem = err
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("%s makes no sense", name)
		}
		if least == 0 || int(n) < least {
			least = int(n)
		}
	}
	if least == 0 {
		return 0, problem
	}
	return least, nil
}

// zombies counts processes that have ended and whose parent has not asked.
func (p processes) zombies(ctx context.Context) (int, error) {
	dir, err := os.Open(filepath.Join(string(p.tree), "proc"))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		if _, err := strconv.ParseUint(name, 10, 31); err != nil {
			continue
		}
		// One that is gone by now is no zombie.
		if text, err := p.tree.text(filepath.Join("proc", name, "stat")); err == nil && processState(text) == 'Z' {
			n++
		}
	}
	return n, nil
}

// processState reads `pid (name) S …`; the name may hold anything. 0 means that
// there is none.
func processState(stat string) byte {
	after := strings.LastIndexByte(stat, ')') + 2
	if after < 2 || after >= len(stat) {
		return 0
	}
	return stat[after]
}
