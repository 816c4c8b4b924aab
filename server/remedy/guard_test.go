package remedy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/remedy"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// good is a case in which every guard agrees.
func good() *remedy.Case {
	return &remedy.Case{
		Now: noon, Policy: policy(), Limit: mesh.RemedyAuto,
		Incident: mesh.Incident{ID: "i1", Rule: "web-down", DC: "dc1", Node: "web1", Check: "web", Status: mesh.IncidentOpen, Opened: noon.Add(-time.Second)},
		Node:     &mesh.Node{Name: "web1", DC: "dc1", Agent: mesh.AgentLinked},
		Check: &mesh.CheckState{
			Status: mesh.HealthCritical, Source: mesh.SourceLink, Received: noon.Add(-time.Second),
			Result: mesh.CheckResult{Check: "web", Status: mesh.HealthCritical, Period: 1500 * time.Millisecond},
		},
		Leads: true, Burst: 1,
	}
}

func policy() mesh.Policy {
	return mesh.Policy{
		Name: "restart-web", Rule: "web-down", Script: "restart-web", Mode: mesh.RemedyAuto,
		Timeout: 30 * time.Second, Verify: 30 * time.Second, Cooldown: 5 * time.Minute, PerHour: 6,
		Storm: 3, StormWindow: time.Minute, Failures: 3,
	}
}

// act is a run of the policy that ended that long ago.
func act(node mesh.NodeName, ago time.Duration, state mesh.RemedyState) mesh.RemedyRun {
	return mesh.RemedyRun{ID: "r", Policy: "restart-web", DC: "dc1", Node: node, State: state, Decided: noon.Add(-ago - time.Second), Ended: noon.Add(-ago)}
}

func acts(n int, ago time.Duration, state mesh.RemedyState) []mesh.RemedyRun {
	out := make([]mesh.RemedyRun, n)
	for i := range out {
		out[i] = act("web2", ago, state)
	}
	return out
}

func TestGuards(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*remedy.Case)
		guard  remedy.Guard // that alone refuses; empty: all agree.
		want   string       // in the reason.
	}{
		"all agree":           {func(*remedy.Case) {}, "", ""},
		"paused":              {func(c *remedy.Case) { c.Paused = &remedy.Pause{By: "ann", At: noon, Reason: "rack 11"} }, remedy.GuardPaused, "paused by ann at 2026-11-21 12:00:00Z: rack 11"},
		"paused for nothing":  {func(c *remedy.Case) { c.Paused = &remedy.Pause{By: "ann", At: noon} }, remedy.GuardPaused, "paused by ann"},
		"policy off":          {func(c *remedy.Case) { c.Policy.Mode = mesh.RemedyOff }, remedy.GuardMode, "off"},
		"policy of no mode":   {func(c *remedy.Case) { c.Policy.Mode = "" }, remedy.GuardMode, "off"},
		"server off":          {func(c *remedy.Case) { c.Limit = mesh.RemedyOff }, remedy.GuardMode, "off"},
		"server of no mode":   {func(c *remedy.Case) { c.Limit = "" }, remedy.GuardMode, "off"},
		"observing agrees":    {func(c *remedy.Case) { c.Policy.Mode = mesh.RemedyObserve }, "", ""},
		"acked":               {func(c *remedy.Case) { c.Incident.Status, c.Incident.AckedBy = mesh.IncidentAcked, "ann" }, remedy.GuardAcked, "in the hands of ann"},
		"closed":              {func(c *remedy.Case) { c.Incident.Status = mesh.IncidentClosed }, remedy.GuardAcked, "closed"},
		"no lease":            {func(c *remedy.Case) { c.Leads = false }, remedy.GuardLease, "does not lead"},
		"node not known":      {func(c *remedy.Case) { c.Node = nil }, remedy.GuardLost, "inventory"},
		"agent not linked":    {func(c *remedy.Case) { c.Node.Agent = mesh.AgentLost }, remedy.GuardLost, "not linked: lost"},
		"agent revoked":       {func(c *remedy.Case) { c.Node.Agent = mesh.AgentRevoked }, remedy.GuardLost, "not linked: revoked"},
		"agent lost":          {func(c *remedy.Case) { c.Check.AgentLost = true }, remedy.GuardLost, "nobody can say"},
		"check unknown":       {func(c *remedy.Case) { c.Check.Status = mesh.HealthUnknown }, remedy.GuardLost, "the check is unknown"},
		"no check":            {func(c *remedy.Case) { c.Check.Result = mesh.CheckResult{}; c.Check.Status = "" }, remedy.GuardLost, "the check is unknown"},
		"check recovered":     {func(c *remedy.Case) { c.Check.Status = mesh.HealthPassing }, remedy.GuardStale, "passing"},
		"a first good result": {func(c *remedy.Case) { c.Check.Result.Status = mesh.HealthPassing }, remedy.GuardStale, "passing"},
		"only the catalog":    {func(c *remedy.Case) { c.Check.Source = mesh.SourceCatalog }, remedy.GuardStale, "catalog"},
		"two periods old":     {func(c *remedy.Case) { c.Check.Received = noon.Add(-3 * time.Second) }, "", ""},
		"older than that":     {func(c *remedy.Case) { c.Check.Received = noon.Add(-3*time.Second - 1) }, remedy.GuardStale, "11:59:56Z"},
		"no period": {func(c *remedy.Case) {
			c.Check.Result.Period, c.Check.Received = 0, noon.Add(-time.Minute)
		}, "", ""},
		"a warning is bad": {func(c *remedy.Case) { c.Check.Status, c.Check.Result.Status = mesh.HealthWarning, mesh.HealthWarning }, "", ""},
		"two at once":      {func(c *remedy.Case) { c.Burst = 2 }, "", ""},
		"a storm":          {func(c *remedy.Case) { c.Burst = 3 }, remedy.GuardStorm, "3 incidents of the rule web-down within 1m0s"},
		"part of a storm":  {func(c *remedy.Case) { c.Stormed = true }, remedy.GuardStorm, "part of a storm"},
		"no storm brake":   {func(c *remedy.Case) { c.Burst, c.Policy.Storm = 99, 0 }, "", ""},
		"two failures":     {func(c *remedy.Case) { c.Acts = acts(2, 2*time.Hour, mesh.RemedyFailed) }, "", ""},
		"three failures":   {func(c *remedy.Case) { c.Acts = acts(3, 20*time.Hour, mesh.RemedyFailed) }, remedy.GuardBreaker, "the last 3 runs have failed"},
		"a success between": {func(c *remedy.Case) {
			c.Acts = acts(3, 2*time.Hour, mesh.RemedyFailed)
			c.Acts[1].State = mesh.RemedySucceeded
		}, "", ""},
		"resumed since": {func(c *remedy.Case) {
			c.Acts = acts(3, 2*time.Hour, mesh.RemedyFailed)
			c.Resumed = noon.Add(-time.Hour)
		}, "", ""},
		"resumed before": {func(c *remedy.Case) {
			c.Acts = acts(3, 2*time.Hour, mesh.RemedyFailed)
			c.Resumed = noon.Add(-3 * time.Hour)
		}, remedy.GuardBreaker, "until the policy is resumed"},
		"no breaker":          {func(c *remedy.Case) { c.Acts, c.Policy.Failures = acts(3, 2*time.Hour, mesh.RemedyFailed), 0 }, "", ""},
		"acted on the node":   {func(c *remedy.Case) { c.Acts = []mesh.RemedyRun{act("web1", 299*time.Second, mesh.RemedySucceeded)} }, remedy.GuardCooldown, "not before 2026-11-21 12:00:01Z"},
		"the cooldown passed": {func(c *remedy.Case) { c.Acts = []mesh.RemedyRun{act("web1", 300*time.Second, mesh.RemedySucceeded)} }, "", ""},
		"on another node":     {func(c *remedy.Case) { c.Acts = acts(1, time.Second, mesh.RemedySucceeded) }, "", ""},
		"its name elsewhere": {func(c *remedy.Case) {
			c.Acts = []mesh.RemedyRun{act("web1", 0, mesh.RemedySucceeded)}
			c.Acts[0].DC = "dc2"
		}, "", ""},
		"five in the hour":    {func(c *remedy.Case) { c.Acts = acts(5, time.Minute, mesh.RemedySucceeded) }, "", ""},
		"six in the hour":     {func(c *remedy.Case) { c.Acts = acts(6, 59*time.Minute, mesh.RemedySucceeded) }, remedy.GuardRate, "6 actions within the last hour, of at most 6"},
		"an hour ago":         {func(c *remedy.Case) { c.Acts = acts(6, time.Hour, mesh.RemedySucceeded) }, "", ""},
		"no rate, no action":  {func(c *remedy.Case) { c.Policy.PerHour = 0 }, remedy.GuardRate, "at most 0"},
		"an old day":          {func(c *remedy.Case) { c.Policy.PerDay, c.Acts = 2, acts(2, 24*time.Hour, mesh.RemedySucceeded) }, "", ""},
		"two in the day":      {func(c *remedy.Case) { c.Policy.PerDay, c.Acts = 2, acts(2, 23*time.Hour, mesh.RemedySucceeded) }, remedy.GuardRate, "2 actions within the last day, of at most 2"},
		"under maintenance":   {func(c *remedy.Case) { c.Maintained = "ann changes its fans" }, remedy.GuardMaintenance, "ann changes its fans"},
		"a flapping check":    {func(c *remedy.Case) { c.Check.Result.Flapping = true }, remedy.GuardFlapping, "back and forth"},
		"nobody has counted":  {func(c *remedy.Case) { c.Peers, c.Troubled = 0, 9 }, "", ""},
		"one of one":          {func(c *remedy.Case) { c.Peers, c.Troubled, c.Unavailable = 1, 1, 0 }, "", ""},
		"half of them":        {func(c *remedy.Case) { c.Peers, c.Troubled, c.Unavailable = 3, 2, 2 }, "", ""},
		"most of them":        {func(c *remedy.Case) { c.Peers, c.Troubled, c.Unavailable = 3, 3, 2 }, remedy.GuardUnavailable, "3 of 3 nodes are in trouble, at most 2 may be"},
		"what may lose data":  {func(c *remedy.Case) { c.Loses = "wipe" }, remedy.GuardLoss, "data can be lost by wipe"},
		"where loss is borne": {func(c *remedy.Case) { c.Loses, c.LossTolerant = "wipe", true }, "", ""},
		"it was proven":       {func(c *remedy.Case) { c.Settled = &mesh.RemedyRun{ID: "r7"} }, remedy.GuardSettled, "run r7 has done what can be done"},
		"a step has refused": {func(c *remedy.Case) {
			c.Policy.Retry, c.Turned = time.Minute, &mesh.RemedyRun{Guard: "guard leave", Ended: noon.Add(-59 * time.Second)}
		}, remedy.GuardRetry, "guard leave has refused at 2026-11-21 11:59:01Z; not before 2026-11-21 12:00:01Z"},
		"it has refused long ago": {func(c *remedy.Case) {
			c.Policy.Retry, c.Turned = time.Minute, &mesh.RemedyRun{Guard: "guard leave", Ended: noon.Add(-time.Minute)}
		}, "", ""},
		"another run": {func(c *remedy.Case) { c.Open = []mesh.RemedyRun{{ID: "r9", Policy: "other", Node: "db1"}} }, remedy.GuardConcurrency, "run r9 of policy other on db1 is under way"},
		"another run of its group": {func(c *remedy.Case) {
			c.Policy.Group = "hdfs"
			c.Open = []mesh.RemedyRun{{ID: "r8", Node: "db1"}, {ID: "r9", Policy: "other", Group: "hdfs", Node: "db1"}}
		}, remedy.GuardConcurrency, "run r9 of policy other on db1 is under way"},
		"another run on its node": {func(c *remedy.Case) {
			c.Open = []mesh.RemedyRun{{ID: "r9", Policy: "other", Group: "hdfs", DC: "dc1", Node: "web1"}}
		}, remedy.GuardConcurrency, "run r9 of policy other on web1 is under way"},
		"runs of other groups on other nodes": {func(c *remedy.Case) {
			c.Open = []mesh.RemedyRun{{ID: "r8", Group: "kafka", DC: "dc1", Node: "db1"}, {ID: "r9", Group: "hdfs", DC: "dc2", Node: "web1"}}
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			tt.change(c)
			got := make(map[remedy.Guard]string)
			for _, v := range remedy.Explain(c) {
				if v.Reason != "" {
					got[v.Guard] = v.Reason
				}
			}
			switch {
			case tt.guard == "" && len(got) == 0:
			case tt.guard != "" && len(got) == 1 && strings.Contains(got[tt.guard], tt.want):
			default:
				t.Errorf("refusals %q, want one of %q with %q", got, tt.guard, tt.want)
			}
		})
	}
}

// TestGuardOrder holds the order to the one that the package documents.
func TestGuardOrder(t *testing.T) {
	var got []remedy.Guard
	for _, v := range remedy.Explain(good()) {
		got = append(got, v.Guard)
	}
	want := []remedy.Guard{
		"paused", "mode", "acked", "lease", "maintenance", "lost", "stale", "flapping", "storm", "unavailable", "loss",
		"settled", "breaker", "retry", "cooldown", "rate", "concurrency",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("guards (-want +got):\n%s", diff)
	}
}

// TestExplainKnowsNothing says that a case without node and check is refused
// and does no harm.
func TestExplainKnowsNothing(t *testing.T) {
	c := good()
	c.Node, c.Check = nil, nil
	for _, v := range remedy.Explain(c) {
		if wants := v.Guard == remedy.GuardLost || v.Guard == remedy.GuardStale; wants != (v.Reason != "") {
			t.Errorf("%s says %q", v.Guard, v.Reason)
		}
	}
}
