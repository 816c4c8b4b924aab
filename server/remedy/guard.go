package remedy

import (
	"fmt"
	"slices"
	"time"

	"alps/mesh"
)

// Guard names one reason not to act.
type Guard string

// The guards, in the order in which they are asked.
const (
	GuardPaused      Guard = "paused"
	GuardMode        Guard = "mode"
	GuardAcked       Guard = "acked"
	GuardLease       Guard = "lease"
	GuardMaintenance Guard = "maintenance"
	GuardLost        Guard = "lost"
	GuardStale       Guard = "stale"
	GuardFlapping    Guard = "flapping"
	GuardSettled     Guard = "settled"
	GuardStorm       Guard = "storm"
	GuardUnavailable Guard = "unavailable"
	GuardLoss        Guard = "loss"
	GuardBreaker     Guard = "breaker"
	GuardRetry       Guard = "retry"
	GuardCooldown    Guard = "cooldown"
	GuardRate        Guard = "rate"
	GuardConcurrency Guard = "concurrency"
	// GuardApproval refuses for a person: one who has said no, or nobody who
	// has said yes in time. It is asked of no Case.
	GuardApproval Guard = "approval"
)

// A Case is all that decides whether a policy acts on an incident now.
type Case struct {
	Now      time.Time
	Policy   mesh.Policy
	Limit    mesh.RemedyMode // an upper bound for the policy's mode.
	Incident mesh.Incident
	// Node and Check are nil when nothing is known of them.
	Node  *mesh.Node
	Check *mesh.CheckState

	Leads   bool
	Paused  *Pause
	Resumed time.Time // when a person has last resumed the policy.
	// Open are the runs that are under way, of whatever policy.
	Open []mesh.RemedyRun
	// Acts are runs of the policy that acted, the newest first: those of the
	// last day, those on the node within the cooldown, and as many of those
	// before as open the breaker.
	Acts []mesh.RemedyRun
	// Burst is how many incidents of the rule were opened within StormWindow or
	// are about to be; Stormed, that this one was refused for a storm since
	// Resumed.
	Burst   int
	Stormed bool
	// Maintained says that people work on the node, or that it is the time for
	// it; empty: they do not.
	Maintained string
	// Peers are the nodes that the policy may act on, and Troubled those of
	// them that are not well, with the incident's and those of Open. Unavailable
	// is how many may be. Zero Peers means that nobody has counted.
	Peers, Troubled, Unavailable int
	// Loses is the script by which data can be lost, "" when there is none, and
	// LossTolerant that the node is declared to bear it.
	Loses        string
	LossTolerant bool
	// Turned is the last run for the incident, when a step of it has refused,
	// and Settled when it has succeeded by its own proofs.
	Turned, Settled *mesh.RemedyRun
}

// Verdict is what one guard says; an empty Reason agrees.
type Verdict struct {
	Guard  Guard
	Reason string
}

// Explain asks every guard, in their order. It is pure.
func Explain(c *Case) []Verdict {
	out := make([]Verdict, 0, len(order()))
	for _, g := range order() {
		out = append(out, Verdict{g.name, g.refuses(c)})
	}
	return out
}

// judge returns the first refusal, and the zero Verdict when all agree.
func judge(c *Case, guards []guard) Verdict {
	for _, g := range guards {
		if why := g.refuses(c); why != "" {
			return Verdict{g.name, why}
		}
	}
	return Verdict{}
}

type guard struct {
	name    Guard
	refuses func(*Case) string // says why, or nothing.
}

func order() []guard {
	return append(truths(), paces()...)
}

// truths are the guards that must hold until the job is submitted. The storm is
// among them: it may show itself while the first of its incidents is decided.
func truths() []guard {
	return []guard{
		{GuardPaused, paused},
		{GuardMode, mode},
		{GuardAcked, acked},
		{GuardLease, lease},
		{GuardMaintenance, maintenance},
		{GuardLost, lost},
		{GuardStale, stale},
		{GuardFlapping, flapping},
		{GuardStorm, storm},
		{GuardUnavailable, unavailable},
		{GuardLoss, loss},
	}
}

// paces are the guards about what was done before: a run that is decided counts
// itself, so it is not asked again.
func paces() []guard {
	return []guard{
		{GuardSettled, settled},
		{GuardBreaker, breaker},
		{GuardRetry, retry},
		{GuardCooldown, cooldown},
		{GuardRate, rate},
		{GuardConcurrency, concurrency},
	}
}

func paused(c *Case) string {
	if c.Paused == nil {
		return ""
	}
	return c.Paused.String()
}

func mode(c *Case) string {
	if effective(c.Policy.Mode, c.Limit) == mesh.RemedyOff {
		return "the policy is off"
	}
	return ""
}

// effective is the mode of a policy under an upper bound: the more careful of
// the two. What is no mode is off.
func effective(policy, limit mesh.RemedyMode) mesh.RemedyMode {
	modes := []mesh.RemedyMode{mesh.RemedyOff, mesh.RemedyObserve, mesh.RemedyApprove, mesh.RemedyAuto}
	return modes[max(0, min(slices.Index(modes, policy), slices.Index(modes, limit)))]
}

func acked(c *Case) string {
	switch {
	case c.Incident.Status == mesh.IncidentOpen:
		return ""
	case c.Incident.Status == mesh.IncidentAcked && c.Incident.AckedBy != "":
		return "the incident is in the hands of " + c.Incident.AckedBy
	}
	return "the incident is " + string(c.Incident.Status)
}

func lease(c *Case) string {
	if !c.Leads {
		return "this server does not lead"
	}
	return ""
}

func lost(c *Case) string {
	switch {
	case c.Node == nil:
		return "the inventory does not know the node"
	case c.Node.Agent != mesh.AgentLinked:
		return "the agent of the node is not linked: " + string(c.Node.Agent)
	case c.Check == nil:
		return "nothing is known of the check"
	case c.Check.AgentLost:
		return "the agent of the node is lost; nobody can say how the check is"
	case c.Check.Status == mesh.HealthUnknown || c.Check.Status == "":
		return "the check is unknown"
	}
	return ""
}

// noPeriod stands in for the period of a check that has none.
const noPeriod = time.Minute

func period(s *mesh.CheckState) time.Duration {
	if s != nil && s.Result.Period > 0 {
		return s.Result.Period
	}
	return noPeriod
}

func stale(c *Case) string {
	switch s := c.Check; {
	case s == nil:
		return "nothing is known of the check"
	case s.Source != mesh.SourceLink:
		return "the check is known from Consul's catalog alone, not from the node itself"
	case c.Now.Sub(s.Received) > 2*period(s):
		return "the last result of the check was received at " + clock(s.Received)
	case s.Status == mesh.HealthPassing, s.Result.Status == mesh.HealthPassing:
		return "the check is passing"
	}
	return ""
}

func storm(c *Case) string {
	switch {
	case c.Policy.Storm > 0 && c.Burst >= c.Policy.Storm:
		return fmt.Sprintf("%d incidents of the rule %s within %s are a storm", c.Burst, c.Policy.Rule, c.Policy.StormWindow)
	case c.Stormed:
		return "the incident is part of a storm, until the policy is resumed"
	}
	return ""
}

func breaker(c *Case) string {
	if n := failures(c.Acts, c.Resumed); c.Policy.Failures > 0 && n >= c.Policy.Failures {
		return fmt.Sprintf("the last %d runs have failed; the breaker is open until the policy is resumed", n)
	}
	return ""
}

// failures counts the runs in a row that have failed since a person has resumed
// the policy. Runs are the newest first; one that is under way says nothing.
func failures(acts []mesh.RemedyRun, resumed time.Time) int {
	n := 0
	for i := range acts {
		switch r := &acts[i]; {
		case !r.State.Ended():
			continue
		case r.State != mesh.RemedyFailed || !r.Ended.After(resumed):
			return n
		}
		n++
	}
	return n
}

func cooldown(c *Case) string {
	for i := range c.Acts {
		r := &c.Acts[i]
		if r.Node != c.Incident.Node || r.DC != c.Incident.DC {
			continue
		}
		if until := lastOf(r).Add(c.Policy.Cooldown); c.Now.Before(until) {
			return "the node was acted on at " + clock(r.Decided) + "; not before " + clock(until)
		}
	}
	return ""
}

// lastOf is the last moment in which a run may have acted.
func lastOf(r *mesh.RemedyRun) time.Time {
	if r.Ended.After(r.Decided) {
		return r.Ended
	}
	return r.Decided
}

func rate(c *Case) string {
	if n := lately(c.Acts, c.Now, time.Hour); n >= c.Policy.PerHour {
		return fmt.Sprintf("%d actions within the last hour, of at most %d", n, c.Policy.PerHour)
	}
	if n := lately(c.Acts, c.Now, day); c.Policy.PerDay > 0 && n >= c.Policy.PerDay {
		return fmt.Sprintf("%d actions within the last day, of at most %d", n, c.Policy.PerDay)
	}
	return ""
}

const day = 24 * time.Hour

// lately counts the runs that were decided within a time before now. One from
// the future, after a step of the clock, counts.
func lately(acts []mesh.RemedyRun, now time.Time, within time.Duration) int {
	n := 0
	for i := range acts {
		if now.Sub(acts[i].Decided) < within {
			n++
		}
	}
	return n
}

func concurrency(c *Case) string {
	for i := range c.Open {
		r := &c.Open[i]
		here := r.Node == c.Incident.Node && r.DC == c.Incident.DC
		if r.Group == c.Policy.Group || here {
			return fmt.Sprintf("run %s of policy %s on %s is under way", r.ID, r.Policy, r.Node)
		}
	}
	return ""
}

// clock prints a moment in a reason.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
