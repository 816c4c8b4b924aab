package api

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"alps/mesh"
	"alps/server/auth"
	"alps/server/stream"
)

// line is a connection that keeps what is written to it; it works in a
// synctest bubble, where sockets do not.
type line struct {
	mu     sync.Mutex
	header http.Header
	b      bytes.Buffer
}

func (l *line) Header() http.Header              { return l.header }
func (l *line) WriteHeader(int)                  {}
func (l *line) Flush()                           {}
func (l *line) SetReadDeadline(time.Time) error  { return nil }
func (l *line) SetWriteDeadline(time.Time) error { return nil }

func (l *line) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *line) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tokens lets everybody in while it is open.
type tokens struct {
	Tokens

	mu  sync.Mutex
	err error
}

func (t *tokens) Authenticate(context.Context, string) (auth.Actor, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return auth.Actor{TokenID: "1"}, t.err
}

func (t *tokens) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

func TestStreamsBeatAndEnd(t *testing.T) {
	tests := []struct {
		name string
		end  func(s *Server, toks *tokens, hangUp func())
		// within is how long the stream may go on after that.
		within time.Duration
	}{
		{"the token is deleted", func(_ *Server, toks *tokens, _ func()) {
			toks.fail(mesh.Errorf(mesh.Unauthorized, "gone"))
		}, heartbeat},
		{"the server stops", func(s *Server, _ *tokens, _ func()) { close(s.closing) }, 0},
		{"the client goes", func(_ *Server, _ *tokens, hangUp func()) { hangUp() }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub, err := stream.New(4)
				if err != nil {
					t.Fatal(err)
				}
				toks := &tokens{}
				s := &Server{Options: Options{Events: hub, Tokens: toks}, closing: make(chan struct{})}
				ctx, hangUp := context.WithCancel(context.WithValue(t.Context(), callKey{}, &call{}))
				defer hangUp()
				req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/events?topic=job", nil)
				req.Header.Set("Authorization", "Bearer x")
				out := &line{header: http.Header{}}
				done := make(chan struct{})
				go func() { s.watchEvents(out, req); close(done) }()

				// A quiet topic: the others publish more than the hub keeps.
				for range 3 {
					for range 10 {
						hub.Publish(stream.Event{Topic: "node"})
					}
					time.Sleep(heartbeat + time.Second)
				}
				if got := strings.Count(out.String(), ": still here\nid: "); got < 2 {
					t.Errorf("%d beats in three times the interval:\n%s", got, out)
				}
				newest := hub.Subscribe(nil, "").Position()
				if !strings.HasSuffix(out.String(), "id: "+newest+"\n\n") {
					t.Errorf("the last beat does not stand at %s:\n%s", newest, out)
				}
				// A store that is away ends nothing.
				toks.fail(mesh.Errorf(mesh.Unavailable, "disk full"))
				time.Sleep(3 * heartbeat)
				select {
				case <-done:
					t.Fatal("the stream ended by itself")
				default:
				}
				toks.fail(nil)
				tt.end(s, toks, hangUp)
				time.Sleep(tt.within)
				synctest.Wait()
				select {
				case <-done:
				default:
					t.Fatalf("the stream goes on %s later", tt.within)
				}
			})
		})
	}
}

// TestBusyStreamsEndWithTheirToken shows that events do not put off the look
// at the token.
func TestBusyStreamsEndWithTheirToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := stream.New(4)
		if err != nil {
			t.Fatal(err)
		}
		toks := &tokens{err: mesh.Errorf(mesh.Unauthorized, "gone")}
		s := &Server{Options: Options{Events: hub, Tokens: toks}, closing: make(chan struct{})}
		req := httptest.NewRequestWithContext(context.WithValue(t.Context(), callKey{}, &call{}), http.MethodGet, "/v1/events", nil)
		req.Header.Set("Authorization", "Bearer x")
		done := make(chan struct{})
		go func() {
			s.watchEvents(&line{header: http.Header{}}, req)
			close(done)
		}()
		for range 20 {
			hub.Publish(stream.Event{Topic: "node"})
			time.Sleep(time.Second)
		}
		synctest.Wait()
		select {
		case <-done:
		default:
			t.Fatal("a busy stream outlives its token")
		}
	})
}

func TestRowsAreValidated(t *testing.T) {
	good := route{method: http.MethodPost, path: "/x", id: "x", needs: auth.Admin, reach: noNodes, action: "x.y"}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*route){
		"no role":            func(r *route) { r.needs = "" },
		"an unknown role":    func(r *route) { r.needs = "root" },
		"no reach":           func(r *route) { r.reach = 0 },
		"a silent write":     func(r *route) { r.action = "" },
		"a read that writes": func(r *route) { r.method = http.MethodGet },
	} {
		r := good
		spoil(&r)
		if r.validate() == nil {
			t.Errorf("%s: the row is taken", name)
		}
	}
}
