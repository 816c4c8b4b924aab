package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/api/apitest"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// run is the nth run of a policy.
func run(n int, node mesh.NodeName) mesh.RemedyRun {
	return mesh.RemedyRun{
		ID: mesh.RemedyRunID(fmt.Sprintf("%016x", n)), Policy: "clean", Incident: incident(n%2, node, "").ID, DC: "dc1", Node: node,
		Check: "disk", State: mesh.RemedyRefused, Decided: apitest.AsOf(), Before: mesh.CheckState{Result: mesh.CheckResult{Output: "evidence"}},
	}
}

func TestRemedyRuns(t *testing.T) {
	e := estate(t)
	var runs []mesh.RemedyRun
	for n := range 900 {
		node := mesh.NodeName("db1")
		if n%100 == 99 {
			node = "web1"
		}
		runs = append(runs, run(n, node))
	}
	runs[899].Policy = "other"
	e.Loop.Change(func(s *apitest.LoopState) { s.Runs = runs })
	tests := []struct {
		name, scope string
		f           v1.RemedyRunFilter
		want        []int
	}{
		{"the newest", "", v1.RemedyRunFilter{Limit: 3}, []int{0, 1, 2}},
		{"a policy", "", v1.RemedyRunFilter{Policy: "other"}, []int{899}},
		{"an incident", "", v1.RemedyRunFilter{Incident: runs[1].Incident, Limit: 2}, []int{1, 3}},
		{"the newest of a scope", "role=web", v1.RemedyRunFilter{Limit: 3}, []int{99, 199, 299}},
		{"as many as there are", "role=web", v1.RemedyRunFilter{Limit: 9}, []int{99, 199, 299, 399, 499, 599, 699, 799, 899}},
		{"all of a scope", "role=web", v1.RemedyRunFilter{}, []int{99, 199, 299, 399, 499, 599, 699, 799, 899}},
		{"a policy in a scope", "role=web", v1.RemedyRunFilter{Policy: "other"}, []int{899}},
		{"a scope over nothing", "role=dns", v1.RemedyRunFilter{}, []int{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := e.Client(t, auth.Viewer, tt.scope).RemedyRuns(t.Context(), tt.f)
			got := []int{}
			for _, r := range list {
				got = append(got, slices.IndexFunc(runs, func(x mesh.RemedyRun) bool { return x.ID == r.ID }))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	web := e.Client(t, auth.Viewer, "role=web")
	if got, err := web.RemedyRun(t.Context(), string(runs[99].ID)); err != nil || got.Before.Result.Output != "evidence" {
		t.Errorf("a run of the scope: %+v, %v", got, err)
	}
	_, hidden := web.RemedyRun(t.Context(), string(runs[0].ID))
	_, missing := web.RemedyRun(t.Context(), "ffffffffffffffff")
	wantCode(t, "a run outside", hidden, mesh.NotFound)
	if got, want := fmt.Sprint(hidden), strings.Replace(fmt.Sprint(missing), "ffffffffffffffff", string(runs[0].ID), 1); got != want {
		t.Errorf("a hidden run is told from a missing one: %q, %q", got, want)
	}
	for _, id := range []string{"", "0123", strings.Repeat("g", 16)} {
		_, err := web.RemedyRun(t.Context(), id)
		wantCode(t, "the run "+id, err, mesh.Invalid)
	}
}

func TestPoliciesKeepToTheScope(t *testing.T) {
	e := estate(t)
	inside, outside := run(1, "web1"), run(2, "db1")
	e.Loop.Change(func(s *apitest.LoopState) {
		s.Policies = v1.PolicyList{Policies: []v1.Policy{
			{Policy: mesh.Policy{Name: "a", Failures: 3}, InARow: 2, Last: &inside}, {Policy: mesh.Policy{Name: "b"}, Last: &outside}, {Policy: mesh.Policy{Name: "c"}},
		}}
	})
	for scope, want := range map[string][]bool{"": {true, true, false}, "role=web": {true, false, false}, "role=dns": {false, false, false}} {
		got, err := e.Client(t, auth.Viewer, scope).Policies(t.Context())
		if err != nil || len(got.Policies) != 3 {
			t.Fatalf("scope %q: %+v, %v", scope, got, err)
		}
		for i, p := range got.Policies {
			if (p.Last != nil) != want[i] {
				t.Errorf("scope %q: the last run of %s is shown: %v, want %v", scope, p.Name, p.Last != nil, want[i])
			}
		}
		if p := got.Policies[0]; p.Failures != 3 || p.InARow != 2 {
			t.Errorf("the limit and the count of failures are %d and %d, want 3 and 2", p.Failures, p.InARow)
		}
	}
}

func TestRemediationIsPaused(t *testing.T) {
	e := estate(t)
	e.Loop.Change(func(s *apitest.LoopState) {
		s.Policies = v1.PolicyList{Policies: []v1.Policy{{Policy: mesh.Policy{Name: "clean", Group: "files"}}, {Policy: mesh.Policy{Name: "restart"}}}}
	})
	c := e.Client(t, auth.Operator, "")
	ctx := t.Context()
	wantCode(t, "pausing", c.PauseRemedy(ctx, mesh.RemedyScope{}, "maintenance"), "")
	got, err := c.Policies(ctx)
	if diff := cmp.Diff(&v1.RemedyPause{By: "operator", At: apitest.AsOf(), Reason: "maintenance"}, got.Paused); diff != "" || err != nil {
		t.Errorf("paused: %v (-want +got):\n%s", err, diff)
	}
	wantCode(t, "closing a breaker", c.ResumeRemedy(ctx, mesh.RemedyScope{Policy: "clean"}, "fixed"), "")
	if got, err = c.Policies(ctx); err != nil || got.Paused == nil {
		t.Errorf("a breaker ends no pause: %+v, %v", got, err)
	}
	group := mesh.RemedyScope{Group: "files"}
	wantCode(t, "pausing a group", c.PauseRemedy(ctx, group, "a new disk"), "")
	got, err = c.Policies(ctx)
	wantPause := &v1.RemedyPause{RemedyScope: group, By: "operator", At: apitest.AsOf(), Reason: "a new disk"}
	for _, p := range got.Policies {
		want := wantPause
		if p.Group != group.Group {
			want = nil
		}
		if diff := cmp.Diff(want, p.Paused); diff != "" || err != nil {
			t.Errorf("policy %s: %v (-want +got):\n%s", p.Name, err, diff)
		}
	}
	wantCode(t, "resuming a group", c.ResumeRemedy(ctx, group, ""), "")
	wantCode(t, "resuming", c.ResumeRemedy(ctx, mesh.RemedyScope{}, ""), "")
	if got, err = c.Policies(ctx); err != nil || got.Paused != nil || got.Policies == nil {
		t.Errorf("resumed: %+v, %v", got, err)
	}
	wantCode(t, "too long a reason", c.PauseRemedy(ctx, mesh.RemedyScope{}, strings.Repeat("x", 501)), mesh.Invalid)
	if diff := cmp.Diff([]string{"policy clean", "group files", "all"}, e.Loop.State().Resumed); diff != "" {
		t.Errorf("resumed (-want +got):\n%s", diff)
	}
	line := func(action, object, reason string) mesh.Audit {
		return mesh.Audit{Actor: "operator", From: "127.0.0.1", Action: action, Object: object, Outcome: mesh.OutcomeDone, Detail: map[string]string{"reason": reason}}
	}
	want := []mesh.Audit{
		line("remedy.pause", "all", "maintenance"), line("remedy.resume", "policy clean", "fixed"),
		line("remedy.pause", "group files", "a new disk"), line("remedy.resume", "group files", ""), line("remedy.resume", "all", ""), line("remedy.pause", "/v1/remedy/pause", ""),
	}
	want[5].Outcome, want[5].Detail = mesh.OutcomeRefused, nil
	wantAudit(t, e, want)
}

func TestProposalsAreAnswered(t *testing.T) {
	e := estate(t)
	proposed := func(n int, node mesh.NodeName) mesh.RemedyRun {
		r := run(n, node)
		r.State = mesh.RemedyProposed
		return r
	}
	runs := []mesh.RemedyRun{proposed(1, "web1"), proposed(2, "web1"), proposed(3, "db1"), run(4, "web1")}
	e.Loop.Change(func(s *apitest.LoopState) { s.Runs = runs })
	c := e.Client(t, auth.Operator, "role=web")
	ctx := t.Context()
	id := func(n int) string { return string(runs[n-1].ID) }

	got, err := c.ApproveRemedy(ctx, id(1), "the spare is in")
	if err != nil || got.State != mesh.RemedyDecided || got.Approved != "operator" {
		t.Errorf("approved: %+v, %v", got, err)
	}
	_, err = c.ApproveRemedy(ctx, id(1), "")
	wantCode(t, "approving twice", err, mesh.Conflict)
	e.Loop.Change(func(s *apitest.LoopState) { s.Reach = []mesh.NodeName{"web1", "db1"} })
	_, err = c.ApproveRemedy(ctx, id(2), "")
	wantCode(t, "approving what acts outside the scope too", err, mesh.Denied)
	if want := "it acts on nodes outside of the token's scope too (1)"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("approving what acts outside the scope too: %v, want %q", err, want)
	}
	got, err = c.RejectRemedy(ctx, id(2), "not at night")
	if err != nil || got.State != mesh.RemedyRefused || got.Reason != "operator: not at night" {
		t.Errorf("rejected: %+v, %v", got, err)
	}
	_, outside := c.ApproveRemedy(ctx, id(3), "")
	_, missing := c.ApproveRemedy(ctx, "ffffffffffffffff", "")
	wantCode(t, "approving outside the scope", outside, mesh.NotFound)
	if got, want := fmt.Sprint(outside), strings.Replace(fmt.Sprint(missing), "ffffffffffffffff", id(3), 1); got != want {
		t.Errorf("a hidden run is told from a missing one: %q, %q", got, want)
	}
	_, err = c.RejectRemedy(ctx, id(3), "")
	wantCode(t, "rejecting outside the scope", err, mesh.NotFound)
	_, err = c.RejectRemedy(ctx, id(4), "")
	wantCode(t, "rejecting what asks nobody", err, mesh.Conflict)
	_, err = c.ApproveRemedy(ctx, id(1), strings.Repeat("x", 501))
	wantCode(t, "too long a reason", err, mesh.Invalid)
	if now := e.Loop.State().Runs; now[2].State != mesh.RemedyProposed || now[3].State != mesh.RemedyRefused {
		t.Errorf("what may not be answered was: %+v", now)
	}

	line := func(action string, n int, outcome mesh.Outcome, reason string) mesh.Audit {
		return mesh.Audit{
			Actor: "operator", From: "127.0.0.1", Action: "remedy." + action, Object: id(n), Outcome: outcome,
			Detail: map[string]string{"policy": "clean", "node": "web1", "incident": string(runs[n-1].Incident), "reason": reason},
		}
	}
	bare := func(action, id string) mesh.Audit {
		return mesh.Audit{Actor: "operator", From: "127.0.0.1", Action: "remedy." + action, Object: "/v1/remedy-runs/" + id + "/" + action, Outcome: mesh.OutcomeRefused}
	}
	wantAudit(t, e, []mesh.Audit{
		line("approve", 1, mesh.OutcomeDone, "the spare is in"), line("approve", 1, mesh.OutcomeRefused, ""),
		line("approve", 2, mesh.OutcomeRefused, ""), line("reject", 2, mesh.OutcomeDone, "not at night"),
		bare("approve", id(3)), bare("approve", "ffffffffffffffff"), bare("reject", id(3)),
		line("reject", 4, mesh.OutcomeRefused, ""), bare("approve", id(1)),
	})
}

func TestPoliciesAreSimulated(t *testing.T) {
	e := estate(t)
	simulation := v1.Simulation{
		Node: "web1", Verdicts: []v1.GuardVerdict{{Guard: "paused"}, {Guard: "storm", Reason: "3 incidents"}}, Reason: "storm: 3 incidents",
		Run: mesh.RemedyRun{Steps: []mesh.RemedyStep{{Kind: mesh.StepConfirm, Name: "two sources", State: mesh.StepOK, Nodes: []mesh.StepNode{}}}},
	}
	e.Loop.Change(func(s *apitest.LoopState) {
		s.Incidents, s.Simulation = someIncidents(), simulation
		s.Policies = v1.PolicyList{Policies: []v1.Policy{{Policy: mesh.Policy{Name: "clean/up"}}}}
	})
	c := e.Client(t, auth.Operator, "role=web")
	ctx := t.Context()
	whole := someIncidents()[0].ID
	got, err := c.SimulatePolicy(ctx, "clean/up", "0001")
	want := simulation
	want.Policy, want.Incident, want.Run.Approved = "clean/up", whole, "operator"
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, code := range map[string]mesh.Code{"0003": mesh.NotFound, "9999": mesh.NotFound, "": mesh.Invalid, "0001x": mesh.Invalid} {
		_, err := c.SimulatePolicy(ctx, "clean/up", name)
		wantCode(t, "the incident "+name, err, code)
	}
	_, err = c.SimulatePolicy(ctx, "nosuch", "0001")
	wantCode(t, "a policy that is none", err, mesh.NotFound)
	_, err = e.Client(t, auth.Viewer, "").SimulatePolicy(ctx, "clean/up", "0001")
	wantCode(t, "a viewer", err, mesh.Denied)
	e.Loop.Change(func(s *apitest.LoopState) { s.SimulateFault = context.DeadlineExceeded })
	_, err = c.SimulatePolicy(ctx, "clean/up", "0001")
	wantCode(t, "nodes that do not answer", err, mesh.Unavailable)

	var done []mesh.Audit
	for _, a := range e.Audited() {
		if a.Action == "remedy.simulate" && a.Outcome == mesh.OutcomeDone {
			done = append(done, a)
		}
	}
	if len(done) != 1 || done[0].Object != "clean/up" || done[0].Detail["incident"] != string(whole) || done[0].Detail["node"] != "web1" {
		t.Errorf("the audit has %+v", done)
	}
}
