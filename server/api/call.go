package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"alps/mesh"
	"alps/server/auth"
)

// call is what the middleware and the handler of one request know together.
// It belongs to the request's goroutine.
type call struct {
	id     string
	method string
	path   string
	from   string // the client's address, without the port.
	route  *route // nil: no such route.
	actor  auth.Actor

	// object and detail go into the audit; a handler sets them when it knows
	// better than the path.
	object string
	detail map[string]string
	// handed is set once the call is the service's to record.
	handed bool
	// line has the deadlines of the request's connection, or of its stream.
	line *http.ResponseController
	// problem is the refusal or the failure that was answered, if any.
	problem *problem
}

type callKey struct{}

// maxObject bounds what a stranger can have us write into the audit.
const maxObject = 256

func newCall(w http.ResponseWriter, r *http.Request, rt *route) *call {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	return &call{
		line: http.NewResponseController(w),
		id:   rand.Text()[:12], method: r.Method, path: r.URL.Path, from: from, route: rt,
		object: r.URL.Path[:min(len(r.URL.Path), maxObject)],
	}
}

// callFrom returns the call that ctx belongs to; a context of no request gets
// an empty one.
func callFrom(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// about says what a write is about, for the audit.
func about(ctx context.Context, object string, detail map[string]string) {
	c := callFrom(ctx)
	c.object, c.detail = object, detail
}

// extend gives a request whose body was read d more until its answer is sent.
// The deadline of reading is moved too: where it passes, the server takes the
// client for gone.
func (c *call) extend(d time.Duration) error {
	until := time.Now().Add(d)
	if err := errors.Join(c.line.SetReadDeadline(until), c.line.SetWriteDeadline(until)); err != nil {
		return fmt.Errorf("take more time for an answer: %w", err)
	}
	return nil
}

func (c *call) failed(p *problem) { c.problem = p }

// outcome says how the call went, in the words of the audit.
func (c *call) outcome() (mesh.Outcome, string) {
	switch {
	case c.problem == nil:
		return mesh.OutcomeDone, ""
	case c.problem.Status >= http.StatusInternalServerError:
		return mesh.OutcomeFailed, c.problem.Detail
	default:
		return mesh.OutcomeRefused, c.problem.Detail
	}
}
