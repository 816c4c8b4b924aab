package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"alps/mesh"
	v1 "alps/server/api/v1"
	"alps/server/auth"
	"alps/server/stream"
)

const (
	// heartbeat is how often a quiet stream says something: proxies drop what
	// is silent for half a minute, and both ends learn that the other is gone.
	heartbeat = 15 * time.Second
	// eventDeadline is how long a client may take to receive an event.
	eventDeadline = 30 * time.Second
	maxTopics     = 64
	// maxSights bounds what one stream remembers of which jobs it may show.
	maxSights = 1024
)

// eventsOperation describes watchEvents, which speaks HTTP itself.
func eventsOperation(op *huma.Operation, schemas huma.Registry) {
	op.Description += " A text/event-stream. The data of each event is one Event in JSON; its id goes into Last-Event-ID to continue. " +
		"An event of type reset comes first when there is no id or nothing to continue from: read the state then. " +
		"The data of a job's events is a JobEvent. " +
		"A token with a scope gets the events of nodes and jobs that it may see, and of a JobEvent the targets that it may see."
	schemas.Schema(reflect.TypeFor[v1.JobEvent](), true, "")
	str := &huma.Schema{Type: huma.TypeString}
	op.Parameters = []*huma.Param{
		{Name: "topic", In: "query", Description: "what to watch: job, job/<id>, node, alert; several with commas or repeated; empty means all", Schema: str},
		{Name: "last_event_id", In: "query", Description: "for clients that cannot set Last-Event-ID", Schema: str},
		{Name: "Last-Event-ID", In: "header", Description: "the id of the last event that was handled", Schema: str},
	}
	op.Responses["200"] = &huma.Response{
		Description: "The stream",
		Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: schemas.Schema(reflect.TypeFor[v1.Event](), true, "")},
		},
	}
}

// watchEvents streams until the client goes, the server stops or the token
// ends.
func (s *Server) watchEvents(w http.ResponseWriter, r *http.Request) {
	topics, after, err := eventsQuery(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	var closer sync.WaitGroup
	defer closer.Wait()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	closer.Go(func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	out := &eventWriter{w: w, rc: http.NewResponseController(w)}
	if err := out.open(); err != nil {
		return // the client has gone.
	}
	sub := s.Events.Subscribe(topics, after)
	view := &sight{jobs: s.Jobs, inventory: s.Inventory, who: callFrom(ctx).actor, seen: map[mesh.JobID]bool{}}
	checked := time.Now()
	for {
		wait, done := context.WithTimeout(ctx, heartbeat)
		e, err := sub.Next(wait)
		done()
		switch {
		case err == nil:
			if e, ok := view.see(ctx, e); ok {
				err = out.event(e)
			}
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			err = out.beat(sub.Position())
		}
		if err != nil {
			return
		}
		if time.Since(checked) >= heartbeat {
			checked = time.Now()
			if s.ended(r) {
				return
			}
		}
	}
}

// ended reports whether a stream's token is no longer good: who lost it must
// not go on listening. A store that is away ends nothing.
func (s *Server) ended(r *http.Request) bool {
	_, err := s.actor(r.Context(), r.Header.Get("Authorization"))
	return mesh.CodeOf(err) == mesh.Unauthorized
}

func eventsQuery(r *http.Request) (topics []string, after string, err error) {
	q := r.URL.Query()
	for key := range q {
		if key != "topic" && key != "last_event_id" {
			return nil, "", mesh.Errorf(mesh.Invalid, "watch events: unknown parameter %q", key).WithHint("there are topic and last_event_id")
		}
	}
	for _, list := range q["topic"] {
		for t := range strings.SplitSeq(list, ",") {
			if t = strings.Trim(t, " /"); t != "" {
				topics = append(topics, t)
			}
		}
	}
	if len(topics) > maxTopics {
		return nil, "", mesh.Errorf(mesh.Invalid, "watch events: %d topics are more than %d", len(topics), maxTopics).WithHint("watch job instead of each job/<id>")
	}
	after = r.Header.Get("Last-Event-ID")
	if after == "" {
		after = q.Get("last_event_id")
	}
	return topics, after, nil
}

// sight decides which events a token may see. It belongs to one stream.
type sight struct {
	jobs      Jobs
	inventory Inventory
	who       auth.Actor
	seen      map[mesh.JobID]bool // whether a job may be shown, as far as asked.
}

// see returns e as it is shown, or false when it is not. A job's list is
// fixed, so what was found out about a job stays true; a node is asked for
// each time, because its attributes change.
func (v *sight) see(ctx context.Context, e stream.Event) (v1.Event, bool) {
	out := v1.Event{ID: e.ID, Topic: e.Topic, Type: e.Type, Node: e.Node, Data: e.Data}
	if v.who.Unlimited() || e.Type == stream.Reset {
		return out, true
	}
	if e.Node != "" {
		return out, v.node(ctx, string(e.Node))
	}
	// What is about no node and no job may be about all of them.
	id, ok := strings.CutPrefix(e.Topic, "job/")
	if !ok || !v.job(ctx, mesh.JobID(id)) {
		return out, false
	}
	out.Data, ok = v.jobData(ctx, e.Data)
	return out, ok
}

// jobData leaves the targets out that are not to be seen. What it cannot read
// it does not pass on.
func (v *sight) jobData(ctx context.Context, data json.RawMessage) (json.RawMessage, bool) {
	var e v1.JobEvent
	if json.Unmarshal(data, &e) != nil {
		return nil, false
	}
	e.Targets = slices.DeleteFunc(e.Targets, func(t v1.TargetEvent) bool {
		return !v.node(ctx, cmp.Or(string(t.Node), string(t.Name)))
	})
	b, err := json.Marshal(e)
	return b, err == nil
}

func (v *sight) node(ctx context.Context, nameOrID string) bool {
	n, err := v.inventory.Node(ctx, nameOrID)
	return err == nil && v.who.Reaches(&n)
}

func (v *sight) job(ctx context.Context, id mesh.JobID) bool {
	if shown, known := v.seen[id]; known {
		return shown
	}
	_, err := v.jobs.Job(ctx, v.who, id)
	if err != nil && mesh.CodeOf(err) != mesh.NotFound {
		return false // ask again at its next event.
	}
	if len(v.seen) >= maxSights {
		clear(v.seen)
	}
	v.seen[id] = err == nil
	return err == nil
}

// eventWriter writes the text/event-stream format.
type eventWriter struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// open takes the stream out of the deadlines that other requests have, and
// sends the header: a client that resumes may have nothing to read for long.
func (o *eventWriter) open() error {
	if err := o.rc.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back.
	return o.write(": hello\n\n")
}

func (o *eventWriter) event(e v1.Event) error {
	b, err := json.Marshal(e) // one line: JSON has no bare line break.
	if err != nil {
		return fmt.Errorf("write event %s of %s: %w", e.Type, e.Topic, err)
	}
	return o.write("id: %s\ndata: %s\n\n", e.ID, b)
}

// beat keeps the line alive and moves the client's id on over events that it
// did not ask for. An event without data is not shown to a page's code.
func (o *eventWriter) beat(position string) error {
	return o.write(": still here\nid: %s\n\n", position)
}

func (o *eventWriter) write(format string, args ...any) error {
	if err := o.rc.SetWriteDeadline(time.Now().Add(eventDeadline)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(o.w, format, args...); err != nil { //nolint:gosec // no page shows a text/event-stream, and JSON escapes <.
		return err
	}
	return o.rc.Flush()
}
