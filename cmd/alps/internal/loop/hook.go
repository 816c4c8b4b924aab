package loop

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"alps/mesh"
)

// Notice is one webhook as it came.
type Notice struct {
	At       time.Time
	Delivery string // of the header Alps-Delivery.
	Status   string `json:"status"`
	Kind     string `json:"kind"`
	Text     string `json:"text"`
	Incident string `json:"incident"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Node     string `json:"node"`
	DC       string `json:"dc"`
	Check    string `json:"check"`
	Output   string `json:"output"`
	Owner    string `json:"owner"`
	Body     []byte `json:"-"`
}

// Hook is a receiver of webhooks on a socket. Its methods may be called from
// any goroutine.
type Hook struct {
	srv  *httptest.Server
	path string // nobody else knows it.

	mu      sync.Mutex
	notices []Notice
	refuse  int // the status that is answered instead of taking; 0 takes.
	refused int
}

// NewHook listens until the test ends.
func NewHook(t testing.TB) *Hook {
	t.Helper()
	h := &Hook{path: "/alert/" + mesh.RandomHex(8)}
	h.srv = httptest.NewServer(http.HandlerFunc(h.take))
	t.Cleanup(h.srv.Close)
	return h
}

// URL is where the hook listens.
func (h *Hook) URL() string { return h.srv.URL + h.path }

// Refuse answers with a status from now on; 0 takes again.
func (h *Hook) Refuse(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = status
}

// Notices are what was taken so far, in order.
func (h *Hook) Notices() []Notice {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.notices)
}

// Refused is how many were answered with a status of Refuse.
func (h *Hook) Refused() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused
}

func (h *Hook) take(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != h.path {
		// What a killed run has left behind tells a port that is ours now.
		http.NotFound(w, r)
		return
	}
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	n := Notice{At: at, Delivery: r.Header.Get("Alps-Delivery"), Body: body}
	if err == nil {
		err = json.Unmarshal(body, &n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.refuse != 0:
		h.refused++
		w.WriteHeader(h.refuse)
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	default:
		h.notices = append(h.notices, n)
	}
}
