package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/server/api/apitest"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

func TestWritesAreAudited(t *testing.T) {
	e := estate(t)
	admin, viewer := e.Client(t, auth.Admin, ""), e.Client(t, auth.Viewer, "")
	made, err := admin.CreateToken(t.Context(), v1.TokenRequest{Name: "ci", Role: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	join, err := admin.CreateJoinToken(t.Context(), v1.JoinTokenRequest{Role: "web"})
	if err != nil {
		t.Fatal(err)
	}
	web1, err := admin.Node(t.Context(), "web1")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	// The outcomes are the audit's business here, not the errors.
	_ = admin.DeleteToken(ctx, made.ID)
	_ = admin.DeleteToken(ctx, made.ID)
	_ = admin.ExpireJoinToken(ctx, join.ID)
	_ = admin.Revoke(ctx, "web1", "sold")
	_, _ = viewer.Submit(ctx, v1.JobRequest{Target: "all", Command: []string{"x"}})
	// What reaches the service of the jobs is recorded there, refusals too.
	_, _ = admin.Submit(ctx, v1.JobRequest{Target: "role=dns", Command: []string{"x"}})
	id := submit(t, admin, "all")
	_, _ = admin.Steer(ctx, string(id), v1.Pause)
	e.Fail(mesh.Errorf(mesh.Unavailable, "disk full"))
	_, _ = admin.Steer(ctx, string(id), v1.Cancel)
	_ = admin.Revoke(ctx, "web2", "sold")
	e.Fail(nil)
	_, _ = admin.Steer(ctx, "0123", v1.Cancel) // which job, the service never learns.
	e.Panic("a bug")
	_, _ = admin.CreateJoinToken(ctx, v1.JoinTokenRequest{Role: "db"})
	e.Panic(nil)
	_, _ = e.Client(t, "", "").Submit(ctx, v1.JobRequest{Target: "all", Command: []string{"x"}}) // a stranger fills nothing.

	line := func(actor, action, object string, outcome mesh.Outcome) mesh.Audit {
		return mesh.Audit{Actor: actor, From: "127.0.0.1", Action: action, Object: object, Outcome: outcome}
	}
	want := []mesh.Audit{
		line("admin", "token.create", made.ID, mesh.OutcomeDone),
		line("admin", "join_token.create", join.ID, mesh.OutcomeDone),
		line("admin", "token.delete", made.ID, mesh.OutcomeDone),
		line("admin", "token.delete", made.ID, mesh.OutcomeRefused),
		line("admin", "join_token.expire", join.ID, mesh.OutcomeDone),
		line("admin", "node.revoke", "web1", mesh.OutcomeDone),
		line("viewer", "job.submit", "/v1/jobs", mesh.OutcomeRefused),
		line("admin", "node.revoke", "/v1/nodes/web2/revoke", mesh.OutcomeFailed),
		line("admin", "job.cancel", "/v1/jobs/0123/cancel", mesh.OutcomeRefused),
		line("admin", "join_token.create", "db", mesh.OutcomeFailed),
	}
	want[0].Detail = map[string]string{"name": "ci", "role": "viewer", "scope": "all"}
	want[1].Detail = map[string]string{"role": "web"}
	want[5].Detail = map[string]string{"node": string(web1.ID), "reason": "sold"}
	got := e.Audited()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(mesh.Audit{}, "Time", "Reason")); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
	for _, l := range got {
		if (l.Outcome == mesh.OutcomeDone) != (l.Reason == "") || l.Time.IsZero() || l.Time.Location() != time.UTC {
			t.Errorf("line %+v: a reason belongs to what was not done, and a time in UTC to all", l)
		}
		if strings.Contains(fmt.Sprint(l), made.Text) || strings.Contains(fmt.Sprint(l), join.Text) {
			t.Errorf("the audit holds a secret: %+v", l)
		}
	}

	f := v1.AuditFilter{
		Action: "token.delete", Actor: "admin", Object: made.ID,
		Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour), Limit: 1,
	}
	var read []mesh.Outcome
	for range 3 {
		page, err := admin.Audit(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Lines {
			read = append(read, l.Outcome)
		}
		if f.Before = page.Next; f.Before == 0 {
			break
		}
	}
	if diff := cmp.Diff([]mesh.Outcome{mesh.OutcomeRefused, mesh.OutcomeDone}, read); diff != "" {
		t.Errorf("all pages of the deletions (-want +got):\n%s", diff)
	}
}

// TestLogLevels shows that a log at Info tells what an operator counts: writes
// and refusals.
func TestLogLevels(t *testing.T) {
	e := apitest.New(t)
	o := e.Options(t)
	var log syncBuffer
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})
	stop := make(chan struct{})
	var run sync.WaitGroup
	e.Run(t, o, &run, stop)
	e.SetNodes(apitest.Node("web1", "web"))
	c := as(t, e, auth.Operator, "")
	c.do(http.MethodGet, "/v1/nodes", "")
	c.do(http.MethodPost, "/v1/jobs", `{"target":"all","command":["uptime"],"env":{"PASSWORD":"hunter2"}}`)
	newCaller(t, e, "").do(http.MethodGet, "/v1/members", "")
	c.do(http.MethodGet, "/v1/tokens", "")
	close(stop)
	run.Wait()
	got := log.String()
	for _, want := range []string{"path=/v1/jobs", "path=/v1/members", "path=/v1/tokens"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("the log does not say %q once:\n%s", want, got)
		}
	}
	for _, secret := range []string{"path=/v1/nodes", "hunter2", c.token} {
		if strings.Contains(got, secret) {
			t.Errorf("the log says %q:\n%s", secret, got)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
