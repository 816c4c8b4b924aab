package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"alps/mesh"
)

// Control tells the agent's Status on a Unix socket. Who may open the file may
// ask; nothing can be changed through it.
type Control struct {
	path   string
	status func() Status
}

// NewControl returns a Control that does not listen yet. status is called for
// each question, by any goroutine.
func NewControl(path string, status func() Status) (*Control, error) {
	if path == "" || status == nil {
		return nil, errors.New("control socket: a path and a status are required")
	}
	return &Control{path: path, status: status}, nil
}

// Run answers until ctx ends, and returns nil then. A socket file that an
// agent left behind is replaced; one that somebody answers on is an error.
func (c *Control) Run(ctx context.Context) error {
	l, err := c.listen(ctx)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// A reader that is gone needs no answer.
		_ = json.NewEncoder(w).Encode(c.status())
	})
	srv := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err = <-served:
		return fmt.Errorf("serve the control socket: %w", err)
	case <-ctx.Done():
	}
	err = srv.Close()
	if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

func (c *Control) listen(ctx context.Context) (net.Listener, error) {
	if err := c.clear(ctx); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", c.path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	if err := os.Chmod(c.path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("open the control socket: %w", err), l.Close())
	}
	return l, nil
}

// clear removes a socket that nobody listens on any more, and nothing else.
// Whoever listens is asked nothing: one that hangs has not given it up.
func (c *Control) clear(ctx context.Context) error {
	info, err := os.Lstat(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return mesh.Errorf(mesh.Invalid, "%s is not a socket", c.path).
			WithHint("let control.socket name a file that does not exist")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.path)
	if err == nil {
		return errors.Join(mesh.Errorf(mesh.Conflict, "another agent listens on %s", c.path).
			WithHint("stop it first, or give this one a data_dir of its own"), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("look at the control socket: %w", err)
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace the control socket: %w", err)
	}
	return nil
}

// askTimeout is how long an agent may take to answer about itself.
const askTimeout = 5 * time.Second

// Ask asks the agent that listens on a socket. mesh.Unavailable means that no
// agent answers there, mesh.Denied that the caller may not ask.
func Ask(ctx context.Context, path string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", http.NoBody)
	if err != nil {
		return Status{}, fmt.Errorf("ask the agent: %w", err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return Status{}, unanswered(path, err)
	}
	defer res.Body.Close()
	var s Status
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		return Status{}, fmt.Errorf("read the agent's answer: %w", err)
	}
	return s, nil
}

// unanswered says in words why an agent did not answer.
func unanswered(path string, err error) error {
	start := "start it: alps agent --config FILE"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return mesh.Errorf(mesh.Unavailable, "no agent runs here: there is no socket at %s", path).WithHint("%s", start)
	case errors.Is(err, syscall.ECONNREFUSED):
		return mesh.Errorf(mesh.Unavailable, "no agent runs here any more: nobody listens on %s", path).WithHint("%s", start)
	case errors.Is(err, fs.ErrPermission):
		return mesh.Errorf(mesh.Denied, "this user may not ask the agent: open %s: %w", path, fs.ErrPermission).
			WithHint("ask as root, or as the user that the agent runs as")
	}
	return mesh.Errorf(mesh.Unavailable, "the agent on %s does not answer: %w", path, err).
		WithHint("it hangs or is overloaded: look at its log")
}
