package client

import (
	"bufio"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// read feeds a stream to a parser as Events does, and returns the events as
// "id type" and the position at its end.
func read(t *testing.T, text string) (events []string, after string, err error) {
	t.Helper()
	var p parser
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		e, ok, err := p.line(lines.Bytes())
		if err != nil {
			return events, after, err
		}
		if ok {
			events = append(events, e.ID+" "+e.Type)
		}
		if p.done {
			after = p.id
		}
	}
	return events, after, lines.Err()
}

func TestParser(t *testing.T) {
	tests := []struct {
		name   string
		text   string
		events []string
		after  string
		fails  bool
	}{
		{name: "nothing"},
		{name: "a comment", text: ": hello\n\n"},
		{name: "an event", text: "id: a-1\ndata: {\"type\":\"x\"}\n\n", events: []string{"a-1 x"}, after: "a-1"},
		{name: "no space after the colon", text: "id:a-1\ndata:{\"type\":\"x\"}\n\n", events: []string{"a-1 x"}, after: "a-1"},
		{name: "lines that end as in DOS", text: "id: a-1\r\ndata: {\"type\":\"x\"}\r\n\r\n", events: []string{"a-1 x"}, after: "a-1"},
		{name: "a beat moves on", text: "id: a-1\ndata: {\"type\":\"x\"}\n\n: still here\nid: a-9\n\n", events: []string{"a-1 x"}, after: "a-9"},
		{name: "what is cut off does not count", text: "id: a-1\ndata: {\"type\":\"x\"}\n\nid: a-2\ndata: {\"type\":\"y\"}\n", events: []string{"a-1 x"}, after: "a-1"},
		{name: "several data lines", text: "id: a-1\ndata: {\"type\":\ndata: \"x\"}\n\n", events: []string{"a-1 x"}, after: "a-1"},
		{name: "an unknown field", text: "retry: 5\nevent: z\nid: a-1\ndata: {\"type\":\"x\"}\n\n", events: []string{"a-1 x"}, after: "a-1"},
		{name: "no JSON", text: "id: a-1\ndata: <html>\n\n", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, after, err := read(t, tt.text)
			if diff := cmp.Diff(tt.events, events); diff != "" || after != tt.after || (err != nil) != tt.fails {
				t.Errorf("after %q, %v; want %q, failure %v; events (-want +got):\n%s", after, err, tt.after, tt.fails, diff)
			}
		})
	}
}

func FuzzParser(f *testing.F) {
	f.Add("id: a-1\ndata: {\"type\":\"x\"}\n\n: still here\nid: a-9\n\n")
	f.Add("data: {}\n\n")
	f.Add("id\ndata\n\n")
	f.Add(":\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		events, after, err := read(t, text)
		if err != nil {
			return
		}
		if blank := strings.Count(text, "\n"); len(events) > blank {
			t.Errorf("%q: %d events in %d lines", text, len(events), blank)
		}
		if !strings.Contains(text, after) {
			t.Errorf("%q: the position %q was never sent", text, after)
		}
		// What was read can be continued from: the same stream cut anywhere
		// before its last blank line never gives a later event.
		if cut, _, _ := read(t, text[:len(text)/2]); len(cut) > len(events) {
			t.Errorf("%q: half of it holds %d events, the whole %d", text, len(cut), len(events))
		}
	})
}
