package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/api/apitest"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
	"alps/server/auth"
	"alps/server/stream"
)

// from is where a client begins to watch.
type from struct {
	topics []string
	after  string
	first  func() // called at the first event; nil for nothing.
}

// watch reads events until it has n of them or the test's patience ends.
func watch(t *testing.T, c *client.Client, f from, n int) []v1.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []v1.Event
	for e, err := range c.Events(ctx, f.topics, f.after) {
		if err != nil {
			t.Logf("on the way: %v", err)
			if mesh.CodeOf(err) != mesh.Unavailable {
				t.Fatal(err)
			}
			continue
		}
		got = append(got, e)
		if len(got) == 1 && f.first != nil {
			f.first()
		}
		if len(got) == n {
			break
		}
	}
	if len(got) != n {
		t.Fatalf("got %d events %+v, want %d", len(got), got, n)
	}
	return got
}

// brief is an event without its id.
func brief(e v1.Event) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Topic, e.Type, e.Node, e.Data))
}

func briefs(events []v1.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, brief(e))
	}
	return out
}

func publish(e *apitest.Estate, topic, kind string, node mesh.NodeName, data string) {
	e.Hub.Publish(stream.Event{Topic: topic, Type: kind, Node: node, Data: json.RawMessage(data)})
}

func TestEvents(t *testing.T) {
	e := estate(t)
	c := e.Client(t, auth.Viewer, "")
	got := watch(t, c, from{topics: []string{"job", "alert"}, first: func() {
		publish(e, "job/1", "counts", "", `{"n":1}`)
		publish(e, "node", "changed", "web1", `{}`)
		publish(e, "job/2", "target", "web1", `{"state":"OK"}`)
		publish(e, "alert", "fired", "", `"a \"text\"\nof two lines"`)
	}}, 4)
	want := []string{
		"reset  {}",
		`job/1 counts  {"n":1}`,
		`job/2 target web1 {"state":"OK"}`,
		`alert fired  "a \"text\"\nof two lines"`,
	}
	if diff := cmp.Diff(want, briefs(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	rest := watch(t, c, from{after: got[1].ID}, 3)
	if diff := cmp.Diff([]string{"node changed web1 {}", want[2], want[3]}, briefs(rest)); diff != "" {
		t.Errorf("continued after the second (-want +got):\n%s", diff)
	}
	if again := watch(t, c, from{after: "another-7"}, 1); again[0].Type != v1.EventReset {
		t.Errorf("continued after another boot: %+v, want a reset", again)
	}
}

func TestEventsKeepToTheScope(t *testing.T) {
	e := estate(t)
	admin, web := e.Client(t, auth.Admin, ""), e.Client(t, auth.Viewer, "role=web")
	both, db := submit(t, admin, "all"), submit(t, admin, "role=db")
	about := func(id mesh.JobID, targets string) string {
		return fmt.Sprintf(`job/%s job.targets  {"job":"%s","counts":null,"phase":"run","wave":0,"ended":false%s}`, id, id, targets)
	}
	got := watch(t, web, from{first: func() {
		e.Report(db, "db1", mesh.OK, nil)
		e.Report(both, "db1", mesh.OK, nil)
		e.Report(both, "web1", mesh.Failed, nil)
		publish(e, "job/"+string(both), "odd", "", `["what nobody can judge is not passed on"]`)
		publish(e, "node", "changed", "db1", `{}`)
		publish(e, "node", "changed", "web2", `{}`)
		publish(e, "alert", "fired", "", `{}`)
		publish(e, "node", "changed", "gone", `{}`)
		publish(e, "node", "changed", "web1", `{}`)
	}}, 5)
	want := []string{
		"reset  {}",
		about(both, ""), // that db1 is in it is not to be seen.
		about(both, `,"targets":[{"index":0,"name":"web1","state":"FAILED"}]`),
		"node changed web2 {}",
		"node changed web1 {}",
	}
	if diff := cmp.Diff(want, briefs(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEventsSurviveARestart has a client watch while its server stops and
// another one starts at the same address.
func TestEventsSurviveARestart(t *testing.T) {
	e := apitest.New(t)
	o := e.Options(t)
	stop := make(chan struct{})
	var run sync.WaitGroup
	e.Run(t, o, &run, stop)
	c := e.Client(t, auth.Viewer, "")

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	failures := 0
	stopSecond := make(chan struct{})
	var second sync.WaitGroup
	defer second.Wait()
	defer close(stopSecond)
	for ev, err := range c.Events(ctx, nil, "") {
		if err != nil {
			failures++
			if mesh.CodeOf(err) != mesh.Unavailable {
				t.Fatal(err)
			}
			continue
		}
		got = append(got, brief(ev))
		switch len(got) {
		case 1:
			publish(e, "node", "changed", "", "1")
		case 2:
			close(stop)
			run.Wait()
			publish(e, "node", "changed", "", "2") // while nobody serves.
			address := e.Address
			o := e.Options(t)
			o.Listener.Close()
			o.Listener = listenAt(t, address)
			e.Run(t, o, &second, stopSecond)
		case 3:
			publish(e, "node", "changed", "", "3")
		}
		if len(got) == 4 {
			break
		}
	}
	if diff := cmp.Diff([]string{"reset  {}", "node changed  1", "node changed  2", "node changed  3"}, got); diff != "" {
		t.Errorf("over the restart (-want +got):\n%s", diff)
	}
	if failures == 0 {
		t.Error("nobody was told that the connection was lost")
	}
}

// TestEventsSayThatTheyLive reads the raw stream: a header at once, also when
// there is nothing to tell.
func TestEventsSayThatTheyLive(t *testing.T) {
	e := estate(t)
	c := as(t, e, auth.Viewer, "")
	publish(e, "node", "changed", "", "1")
	last := e.Hub.Subscribe(nil, "").Position()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := c.http.Do(c.request(http.MethodGet, "/v1/events?last_event_id="+last, "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(line, ":") {
		t.Errorf("got %d, %q, first line %q, %v", resp.StatusCode, resp.Header.Get("Content-Type"), line, err)
	}
}

func TestTooManyTopics(t *testing.T) {
	e := estate(t)
	a := as(t, e, auth.Viewer, "").do(http.MethodGet, "/v1/events?topic="+strings.Repeat("job/1,", 65), "")
	if a.status != http.StatusUnprocessableEntity || a.problem.Code != mesh.Invalid {
		t.Errorf("got %d %+v", a.status, a.problem)
	}
}
