package loop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"alps/cmd/alps/internal/loop"
	"alps/mesh"
)

const (
	// wildMark is in the environment of every process of the wild check, and
	// wildSize what it prints.
	wildMark = "ALPS_TEST_WILD"
	wildSize = 50 << 20
	// wildCost is what an agent may need more for such a check. It is less
	// than half of what is printed, and far above what the rest needs.
	wildCost = 20 << 20
)

// wildCheck does everything that a check must not do: it prints without end,
// ignores TERM, and leaves children behind, one of them in a session of its own.
const wildCheck = `check "wild" {
  script = ["/bin/sh", "-c", <<EOT
trap '' TERM
sleep 600 &
setsid sleep 600 &
head -c SIZE /dev/zero | tr '\0' x
sleep 600
EOT
  ]
  env      = { MARK = "VALUE" }
  interval = "1h"
  timeout  = "2s"
}
`

// checkRunsWild has an agent run such a check beside the others.
func checkRunsWild(t *testing.T, r *loop.Rig) {
	const node = loop.WebOne
	setRules(t, r, aRule("wild", "0s"))
	agent := processes(t, "cmdline", r.Agent(node).ConfigPath())
	if len(agent) != 1 {
		t.Fatalf("the agent of %s has the pids %v", node, agent)
	}
	before := peak(t, agent[0])
	value := filepath.Base(t.TempDir()) + strconv.Itoa(os.Getpid())
	path := filepath.Join(r.Agent(node).Dir(), "checks.d", "wild.hcl")
	text := strings.NewReplacer("MARK", wildMark, "VALUE", value, "SIZE", strconv.Itoa(wildSize)).Replace(wildCheck)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, r.Agent(node))
	since := time.Now()
	mark := wildMark + "=" + value
	loop.Await(t, "the check runs", func(context.Context) error {
		if len(processesWith(t, mark)) < 3 {
			return errors.New("it does not run yet")
		}
		return nil
	})

	var wild mesh.CheckState
	loop.Await(t, "the check has taken too long", func(ctx context.Context) (err error) {
		if wild, err = r.Check(ctx, node, "wild"); err == nil && !wild.Result.Timeout {
			err = fmt.Errorf("it is %q: %.100s", wild.Status, wild.Result.Output)
		}
		return err
	})
	if wild.Status != mesh.HealthUnknown || !wild.Result.Timeout || !strings.Contains(wild.Result.Output, "within 2s") {
		t.Errorf("it is %s: %.200s; want it unknown for having taken more than 2 s", wild.Status, wild.Result.Output)
	}
	if len(wild.Result.Output) > mesh.MaxCheckOutput {
		t.Errorf("%d bytes of output are kept, want at most %d", len(wild.Result.Output), mesh.MaxCheckOutput)
	}
	loop.Await(t, "nothing of the check is left", func(context.Context) error {
		if left := processesWith(t, mark); len(left) > 0 {
			return fmt.Errorf("these run on: %v", left)
		}
		return nil
	})
	if more := peak(t, agent[0]) - before; more > wildCost {
		t.Errorf("the agent needed %d MB more for it, want at most %d", more>>20, wildCost>>20)
	}
	loop.Await(t, "the other checks of the node have gone on", func(ctx context.Context) error {
		s, err := r.Check(ctx, node, "web")
		if err == nil && (s.Status != mesh.HealthPassing || s.Received.Sub(since) < 2*time.Second) {
			err = fmt.Errorf("web is %s, received %s", s.Status, s.Received)
		}
		return err
	})

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reload(t, r.Agent(node))
	loop.Await(t, "the check is no more", func(ctx context.Context) error {
		if s, err := r.Check(ctx, node, "wild"); err != nil || s.Status != "" {
			return fmt.Errorf("it is %q, %w", s.Status, err)
		}
		return nil
	})
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...) // a check of the node alone takes nothing out of it.
}

// peak is the most memory that a process has had so far, in bytes.
func peak(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("process %d does not say what memory it has had:\n%s", pid, b)
	return 0
}

const (
	// maxToggles bounds how often web changes before it must be called
	// flapping. Nine results in a row that are each another than the one
	// before are half of the weighted window of twenty; a machine that is
	// starved gives a result twice here and there.
	maxToggles = 24
	// moreToggles is how often it goes on after that.
	moreToggles = 8
)

// checkFlaps kills web and starts it again, over and over. That is one
// incident. Until the check is known to flap, each way down and up may be told:
// one notice for each change. From then on nothing is told before it is quiet:
// at most one notice that it is open, if flapping was found while it was well,
// and one that it is over.
func checkFlaps(t *testing.T, r *loop.Rig) {
	const rule, victim = "flapping", loop.WebThree
	setRules(t, r, aRule(rule, "0s"))
	down := false
	toggle := func() mesh.CheckState {
		want := mesh.HealthCritical
		if down = !down; down {
			r.Web(victim).Kill()
		} else {
			want = mesh.HealthPassing
			restartWeb(t, r, victim)
		}
		return r.AwaitCheck(t, victim, "web", want)
	}
	toggles := 0
	for !toggle().Result.Flapping {
		if toggles++; toggles == maxToggles {
			t.Fatalf("web has changed %d times and does not flap", toggles)
		}
	}
	for range moreToggles {
		toggle()
	}
	if down {
		toggle()
	}
	over := r.AwaitIncident(t, rule, "closed after it was quiet", func(i mesh.Incident) bool {
		return closed(i) && strings.Contains(loop.Story(i), "it flaps no more")
	})
	list := r.Incidents(t, rule)
	if len(list) != 1 || list[0].ID != over.ID {
		t.Errorf("%d incidents, want one: %+v", len(list), list)
	}
	most := toggles + 2
	loop.Await(t, "all that is written was told", func(ctx context.Context) error {
		i, err := r.Client().Incident(ctx, string(over.ID))
		got := notices(r, rule)
		if err != nil || len(got) < 2 || count(i, mesh.EventNotified) != len(got) || got[len(got)-1].Status != "resolved" {
			return fmt.Errorf("%d were taken and %d are written, %w", len(got), count(i, mesh.EventNotified), err)
		}
		return nil
	})
	got := notices(r, rule)
	if len(got) > most {
		t.Errorf("%d notices after %d changes before it flapped, want at most %d: %v", len(got), toggles, most, kinds(got))
	}
	for n, s := range kinds(got) {
		if want := []string{"firing", "resolved"}[n%2]; s != want {
			t.Errorf("notice %d is %s, want %s: %v", n, s, want, kinds(got))
		}
	}
	r.AwaitDNS(t, loop.Observer, web, r.WebAddrs()...)
}
