package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// shopVerb makes this program a shop: `bench shop-server ADDR`.
const shopVerb = "shop-server"

// shop is a small HTTP service on one node, as a process of its own, so that
// it can be killed.
type shop struct {
	node, host string
	port       int
	cmd        *exec.Cmd
	in         io.Closer
}

// newShop opens a shop on an address, on a port that the kernel chooses and it
// keeps from then on.
func newShop(ctx context.Context, node, host string) (*shop, error) {
	s := &shop{node: node, host: host}
	return s, s.open(ctx)
}

// instance is what Prometheus calls it.
func (s *shop) instance() string { return fmt.Sprintf("%s:%d", s.host, s.port) }

// open starts it and returns when it takes connections.
func (s *shop) open(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.cmd = exec.CommandContext(ctx, self, shopVerb, s.instance())
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil { // it ends with us, however we end.
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.kill()
		return fmt.Errorf("the service of %s did not start: %w", s.node, err)
	}
	addr, err := net.ResolveTCPAddr("tcp", strings.TrimSpace(line))
	if err != nil {
		s.kill()
		return err
	}
	s.port = addr.Port
	return nil
}

// kill ends it with SIGKILL and waits for it: nobody listens any more.
func (s *shop) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended.
	_ = s.in.Close()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// serveShop is the service. It ends when its standard input does. Prometheus
// reads its metrics, of which there is one.
func serveShop(ctx context.Context, addr string, in io.Reader, out io.Writer) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "shop_open 1\n") // who hangs up does not want it.
	})}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = srv.Close()
	}()
	_ = srv.Serve(l) // it was closed: that is the end.
	return nil
}

// Who calls the hook, and what is said.
const (
	whoAlps       = "alps"
	whoPeer       = "prometheus"
	stateFiring   = "firing"
	stateResolved = "resolved"
)

// hook is the receiver of both systems. Its methods may be called from any
// goroutine.
type hook struct {
	srv *httptest.Server

	mu      sync.Mutex
	notices map[notice]time.Time // when each came first.
}

// notice is one thing that was said: by whom, of which node or instance, what.
type notice struct{ who, of, state string }

func newHook(ctx context.Context) (*hook, error) {
	h := &hook{notices: map[notice]time.Time{}}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /"+whoAlps, h.takeAlps)
	mux.HandleFunc("POST /"+whoPeer, h.takePeer)
	h.srv = &httptest.Server{Listener: l, Config: &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}}
	h.srv.Start()
	return h, nil
}

func (h *hook) url(who string) string { return h.srv.URL + "/" + who }

func (h *hook) close() { h.srv.Close() }

// forget drops what was said so far.
func (h *hook) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.notices)
}

// when is when somebody has first said something of a shop.
func (h *hook) when(who string, s *shop, state string) (time.Time, bool) {
	of := s.node
	if who == whoPeer {
		of = s.instance()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.notices[notice{who, of, state}]
	return at, ok
}

func (h *hook) take(n notice, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.notices[n]; !ok {
		h.notices[n] = at
	}
}

func (h *hook) takeAlps(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var doc struct{ Status, Node, Check string }
	if err := json.NewDecoder(r.Body).Decode(&doc); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if doc.Check == shopName {
		h.take(notice{whoAlps, doc.Node, doc.Status}, at)
	}
}

func (h *hook) takePeer(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var doc struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&doc); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, a := range doc.Alerts {
		h.take(notice{whoPeer, a.Labels["instance"], a.Status}, at)
	}
}
