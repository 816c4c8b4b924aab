package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// deadlines is a connection that remembers when it is to end.
type deadlines struct {
	http.ResponseWriter

	read, write time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// TestExtendMovesBothDeadlines: where only that of writing moved, the server
// would end the request when that of reading passes.
func TestExtendMovesBothDeadlines(t *testing.T) {
	conn := &deadlines{ResponseWriter: httptest.NewRecorder()}
	c := newCall(&response{ResponseWriter: conn}, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), nil)
	before := time.Now()
	if err := c.extend(SimulateTimeout); err != nil {
		t.Fatal(err)
	}
	if end := before.Add(SimulateTimeout); conn.read.Before(end) || conn.write.Before(end) {
		t.Errorf("reading ends %s and writing %s after now, want both after %s", conn.read.Sub(before), conn.write.Sub(before), SimulateTimeout)
	}
	c = newCall(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), nil)
	if err := c.extend(SimulateTimeout); err == nil {
		t.Error("a connection without deadlines is extended")
	}
}
