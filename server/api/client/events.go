package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

const (
	// silence is how long a stream may say nothing: the server speaks every
	// 15 s, so two beats were lost.
	silence = 40 * time.Second
	// Reconnects wait between these, doubling, with jitter, so that the
	// clients of a restarted server do not knock in the same instant.
	minPause = 200 * time.Millisecond
	maxPause = 10 * time.Second
	// maxLine bounds one event.
	maxLine = 4 << 20
)

// Events returns the changes of the topics as they happen, for ever: none
// means all topics, "job" covers "job/<id>". after is the ID of the last event
// that was handled, empty at first. When an event of type v1.EventReset comes,
// read the state anew; it comes first unless after is continued from.
//
// A lost connection is made again and continued from the last event, without
// a gap and without a repetition. Each failure is also yielded, with a zero
// Event, as mesh.Unavailable: a caller that has nothing to say about it
// continues. Any other error is final and comes last. The sequence ends when
// ctx does, without an error.
func (c *Client) Events(ctx context.Context, topics []string, after string) iter.Seq2[v1.Event, error] {
	return func(yield func(v1.Event, error) bool) {
		pause := minPause
		for ctx.Err() == nil {
			err := c.stream(ctx, topics, &after, func(e v1.Event) bool {
				pause = minPause
				return yield(e, nil)
			})
			switch {
			case err == nil || ctx.Err() != nil:
				return // the caller has had enough.
			case mesh.CodeOf(err) != mesh.Unavailable:
				yield(v1.Event{}, err)
				return
			case !yield(v1.Event{}, err):
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause/2 + rand.N(pause/2)):
			}
			pause = min(2*pause, maxPause)
		}
	}
}

// stream reads one connection. It returns nil when see returned false, and an
// error otherwise. *after moves on with what was seen.
func (c *Client) stream(ctx context.Context, topics []string, after *string, see func(v1.Event) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := c.request(ctx, call{method: http.MethodGet, path: "/v1/events", query: params("topic", strings.Join(topics, ","))})
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if *after != "" {
		req.Header.Set("Last-Event-ID", *after)
	}
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	resp, err := c.http.Do(req)
	if err != nil {
		return c.broken(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
		if err != nil {
			return c.broken(err)
		}
		return problem(resp, body)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	p := parser{}
	for lines.Scan() {
		quiet.Reset(silence)
		e, ok, err := p.line(lines.Bytes())
		if err != nil {
			return err
		}
		// The id counts once the caller has returned from the event.
		if ok && !see(e) {
			return nil
		}
		if p.done {
			*after = p.id
		}
	}
	if err := lines.Err(); err != nil {
		return c.broken(err)
	}
	return mesh.Errorf(mesh.Unavailable, "the server at %s ended the event stream", c.base).WithHint("it is being continued")
}

// broken is unreachable for a stream: that it was cancelled because of silence
// is a failure too.
func (c *Client) broken(err error) error {
	if e := c.unreachable(err); mesh.CodeOf(e) == mesh.Unavailable {
		return e
	}
	return mesh.Errorf(mesh.Unavailable, "nothing came from %s for %s", c.base, silence).WithHint("the connection is being made again")
}

// parser reads the lines of a text/event-stream, as far as our server uses the
// format: fields id and data, comments, one data line for each event.
type parser struct {
	id   string
	data []byte
	done bool // the line ended a block: id may be continued from.
}

// line takes one line without its end. It returns an event when the line ends
// one.
func (p *parser) line(b []byte) (v1.Event, bool, error) {
	p.done = len(b) == 0 && p.id != ""
	if len(b) > 0 {
		name, value, _ := bytes.Cut(b, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			p.id = string(value)
		case "data":
			p.data = append(p.data, value...)
		}
		return v1.Event{}, false, nil
	}
	if len(p.data) == 0 {
		return v1.Event{}, false, nil
	}
	var e v1.Event
	err := json.Unmarshal(p.data, &e)
	p.data = nil // Event.Data is a copy, but an error shows what was read.
	if err != nil {
		return v1.Event{}, false, fmt.Errorf("read event %s: %w", p.id, err)
	}
	e.ID = p.id
	return e, true, nil
}
