package api

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"alps/mesh"
	"alps/server/auth"
)

// wrap puts what every request goes through around the routes. The order is
// part of what is promised: a panic anywhere is answered; what is refused has
// an id and is logged; nothing reads a body before its length is known to be
// bearable; nobody learns more than that a route exists before saying who
// they are.
func (s *Server) wrap(routes http.Handler) http.Handler {
	h := routes
	h = s.permit(h)
	h = s.authenticate(h)
	h = s.sameOrigin(h)
	h = s.limitBody(h)
	h = s.record(h)
	h = s.identify(h)
	return s.recovered(h)
}

// response watches what is answered. Unwrap leaves flushing and deadlines to
// http.ResponseController.
type response struct {
	http.ResponseWriter

	status int
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &response{ResponseWriter: rw}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v) // the one panic that net/http asks for.
			}
			s.log.Error("a request met a bug", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
			if w.status == 0 {
				writeProblem(w, newProblem(mesh.Internal, http.StatusInternalServerError,
					"a fault in the server", "the server's log has the details"))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// identify gives the request its id and finds its row.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := s.mux.Handler(r)
		c := newCall(w, r, s.rows[pattern])
		h := w.Header()
		h.Set("X-Request-Id", c.id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

// record logs every request and audits the writes. Info is for what an
// operator would count: writes and refusals. A stranger without a token is
// logged and not audited: the audit is no place that anybody may fill.
func (s *Server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &response{ResponseWriter: w}
		c := callFrom(r.Context())
		defer s.finish(r.Context(), rec, began)
		// A write that panics is recorded, as one that failed.
		returned := false
		defer func() {
			if !returned {
				c.handed = false
				c.problem = newProblem(mesh.Internal, http.StatusInternalServerError, "a fault in the server", "")
			}
		}()
		next.ServeHTTP(rec, r)
		returned = true
	})
}

// finish logs and audits a request that is over.
func (s *Server) finish(ctx context.Context, w *response, began time.Time) {
	c := callFrom(ctx)
	level := s.log.Debug
	write := c.route != nil && c.route.action != ""
	if write || w.status == http.StatusUnauthorized || w.status == http.StatusForbidden {
		level = s.log.Info
	}
	level("request", "id", c.id, "method", c.method, "path", c.path, "status", w.status,
		"token", c.actor.TokenID, "from", c.from, "took", time.Since(began).Round(time.Microsecond))
	if write && c.actor.TokenID != "" {
		s.audit(ctx, c)
	}
}

// audit adds the line of a write that is over. That it cannot be added does
// not undo what was done, so it is said and not returned.
func (s *Server) audit(ctx context.Context, c *call) {
	if c.handed {
		return
	}
	outcome, reason := c.outcome()
	// The line is written even when the client has hung up.
	err := s.Audit.Record(context.WithoutCancel(ctx), mesh.Audit{
		Time: time.Now().UTC(), Actor: c.actor.Name, From: c.from, Action: c.route.action,
		Object: c.object, Outcome: outcome, Reason: reason, Detail: c.detail,
	})
	if err != nil {
		s.log.Error("a write is missing from the audit", "request", c.id, "action", c.route.action,
			"object", c.object, "token", c.actor.TokenID, "error", err)
	}
}

// limitBody refuses a body that says that it is too long; one that does not
// say is cut off while it is read.
func (s *Server) limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > MaxBody {
			detail, hint := tooLarge()
			s.refuse(w, r, mesh.Errorf(mesh.TooLarge, "%s", detail).WithHint("%s", hint))
			return
		}
		// One byte more, so that the framework can tell full from too long.
		r.Body = http.MaxBytesReader(w, r.Body, MaxBody+1)
		next.ServeHTTP(w, r)
	})
}

func tooLarge() (detail, hint string) {
	return "the request has more than 2 MiB",
		"a script may have 1 MiB; have it fetch what is larger from where your files live"
}

// sameOrigin refuses what a foreign page has a browser send.
func (s *Server) sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := protection.Check(r); err != nil {
			s.refuse(w, r, mesh.Errorf(mesh.Denied, "the request comes from another site's page: %w", err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// authenticate puts the Actor into the context. A request without a token
// goes on as nobody; one with a bad token is refused even where none is
// needed, so that a typing error is found.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Get("Authorization")
		if header == "" {
			next.ServeHTTP(w, r)
			return
		}
		who, err := s.actor(r.Context(), header)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		c := callFrom(r.Context())
		who.From = c.from
		c.actor = who
		next.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), who)))
	})
}

func (s *Server) actor(ctx context.Context, header string) (auth.Actor, error) {
	scheme, text, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return auth.Actor{}, mesh.Errorf(mesh.Unauthorized, "the Authorization header is not of the form: Bearer <token>")
	}
	return s.Tokens.Authenticate(ctx, strings.TrimSpace(text))
}

// permit lets a request through to its handler if its row says so.
func (s *Server) permit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callFrom(r.Context())
		if c.route == nil {
			s.noSuchRoute(w, r)
			return
		}
		if err := c.route.allows(c.actor); err != nil {
			s.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// noSuchRoute tells a wrong path from a wrong method on a right one.
func (s *Server) noSuchRoute(w http.ResponseWriter, r *http.Request) {
	c := callFrom(r.Context())
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := s.mux.Handler(probe); s.rows[pattern] != nil {
			allowed = append(allowed, method)
		}
	}
	p := newProblem(mesh.NotFound, http.StatusNotFound, "there is nothing at "+c.object, "/v1/openapi.json describes what there is")
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		p = newProblem(mesh.Invalid, http.StatusMethodNotAllowed,
			c.method+" is not possible at "+c.object, "possible is "+strings.Join(allowed, ", "))
	}
	p.Request = c.id
	c.failed(p)
	writeProblem(w, p)
}
