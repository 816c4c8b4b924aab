package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/server/stream"
)

const (
	// MaxBody is the largest body of a request: a script of mesh.MaxScript in
	// base64, and room for its arguments and environment.
	MaxBody = 2 << 20

	readHeaderTimeout = 10 * time.Second
	readTimeout       = time.Minute // 2 MiB over a slow line.
	writeTimeout      = time.Minute // a page of ten thousand targets over the same.
	idleTimeout       = 2 * time.Minute
	// stopTimeout is how long requests under way may take after the end was
	// called; event streams end at once.
	stopTimeout = 5 * time.Second
)

// Options are what a Server needs. All are required.
type Options struct {
	// Listener is where clients come in; Run closes it. TLS holds the
	// certificate; there is no plaintext mode.
	Listener net.Listener
	TLS      *tls.Config
	Logger   hclog.Logger

	Version string // of the program.
	Cluster string

	Jobs      Jobs
	Inventory Inventory
	Enrolment Enrolment
	Tokens    Tokens
	Audit     Audit
	Status    Status
	Events    *stream.Hub
	Checks    Checks
	Consul    Consul
	KV        KV
	Settings  Settings
	Incidents Incidents
	Remedies  Remedies
	// UI answers what lies under /ui/ and the bare address.
	UI http.Handler
}

func (o *Options) validate() error {
	var errs []error
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"listener", o.Listener == nil},
		{"TLS configuration", o.TLS == nil},
		{"logger", o.Logger == nil},
		{"version", o.Version == ""},
		{"cluster", o.Cluster == ""},
		{"jobs", o.Jobs == nil},
		{"inventory", o.Inventory == nil},
		{"enrolment", o.Enrolment == nil},
		{"tokens", o.Tokens == nil},
		{"audit", o.Audit == nil},
		{"status", o.Status == nil},
		{"events", o.Events == nil},
		{"checks", o.Checks == nil},
		{"Consul", o.Consul == nil},
		{"KV", o.KV == nil},
		{"settings", o.Settings == nil},
		{"incidents", o.Incidents == nil},
		{"remedies", o.Remedies == nil},
		{"web UI", o.UI == nil},
	} {
		if part.missing {
			errs = append(errs, fmt.Errorf("api: the %s is missing", part.name))
		}
	}
	return errors.Join(errs...)
}

// Server answers the API.
type Server struct {
	Options

	log     hclog.Logger
	mux     *http.ServeMux
	rows    map[string]*route // by the mux's pattern.
	openAPI []byte
	handler http.Handler
	closing chan struct{} // closed when Run ends: event streams end with it.
}

// New checks o and returns a Server that does not listen yet.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{Options: o, log: o.Logger, closing: make(chan struct{})}
	if err := s.register(); err != nil {
		return nil, err
	}
	s.handler = s.wrap(s.mux)
	return s, nil
}

// Run answers until ctx ends, and returns nil then, or until the listener
// breaks. It may be called once. Requests under way have stopTimeout to end;
// event streams are closed at once, and their clients resume at the next
// server.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.TLS.Clone(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		// A request is not cut off because the server is about to stop.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		// Scanners and plain HTTP on a TLS port are no news.
		ErrorLog: s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(s.Listener, "", "") }()
	select {
	case err := <-served:
		close(s.closing)
		return fmt.Errorf("serve the API at %s: %w", s.Listener.Addr(), errors.Join(err, srv.Close()))
	case <-ctx.Done():
	}
	close(s.closing)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := srv.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // somebody reads too slowly; their connection is cut.
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	if err != nil {
		return fmt.Errorf("stop the API: %w", err)
	}
	return nil
}
