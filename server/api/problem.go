package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

// problem is a v1.Problem as the HTTP framework wants it.
type problem struct{ v1.Problem }

var (
	_ huma.StatusError       = (*problem)(nil)
	_ huma.ContentTypeFilter = (*problem)(nil)
)

func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) ContentType(string) string { return v1.ProblemType }

func newProblem(code mesh.Code, status int, detail, hint string) *problem {
	return &problem{v1.Problem{
		Type: "about:blank", Title: cmp.Or(http.StatusText(status), "Error"), Status: status,
		Detail: detail, Code: code, Hint: hint,
	}}
}

// asProblem says what a client is told of err. An error that has no code is a
// fault of ours: the client gets the request's id and the log the error.
func (s *Server) asProblem(ctx context.Context, err error) *problem {
	call := callFrom(ctx)
	var p *problem
	e, ok := errors.AsType[*mesh.Error](err)
	switch {
	case ok && e.Code != mesh.Internal:
		// The whole chain, not the innermost message: it says what was attempted.
		p = newProblem(e.Code, v1.HTTPStatus(e.Code), err.Error(), e.Hint)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p = newProblem(mesh.Unavailable, http.StatusServiceUnavailable, "the server could not answer in time", "try again")
	default:
		s.log.Error("a request met a fault", "request", call.id, "method", call.method, "path", call.path, "error", err)
		p = newProblem(mesh.Internal, http.StatusInternalServerError,
			"a fault in the server", fmt.Sprintf("the server's log has the details under request=%s", call.id))
	}
	p.Request = call.id
	call.failed(p)
	return p
}

// fromFramework turns the framework's own errors, which come from reading a
// request, into problems. The values that they carry are left out: a value
// that is wrong may be a secret in the wrong place.
func fromFramework(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	call := callFrom(ctx.Context())
	code, detail, hint := v1.CodeOfStatus(m.Status), "read the request: "+m.Detail, ""
	if code == mesh.TooLarge {
		detail, hint = tooLarge()
	}
	var wrong []string
	for _, e := range m.Errors {
		if e != nil {
			wrong = append(wrong, strings.TrimSpace(e.Location+": "+e.Message))
		}
	}
	if len(wrong) > 0 {
		detail = "read the request: " + strings.Join(wrong, "; ")
	}
	p := newProblem(code, m.Status, detail, hint)
	p.Request = call.id
	call.failed(p)
	return p, nil
}

// refuse answers a request that never reaches its handler.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	writeProblem(w, s.asProblem(r.Context(), err))
}

func writeProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", v1.ProblemType)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="alps"`)
	}
	w.WriteHeader(p.Status)
	b, err := json.Marshal(p)
	if err != nil { // a Problem holds nothing that JSON cannot.
		return
	}
	w.Write(append(b, '\n'))
}

// WriteError answers a request that no Server has seen, such as one that a
// server which stands by could not pass on.
func WriteError(w http.ResponseWriter, err *mesh.Error) {
	writeProblem(w, newProblem(err.Code, v1.HTTPStatus(err.Code), err.Error(), err.Hint))
}
