// Package jmxtest is NameNodes and DataNodes that say on their page /jmx what a
// test wants. What they say to begin with was recorded from real ones, of
// Hadoop 3.4.3 with three DataNodes.
//
//	nn := jmxtest.New(t, jmxtest.NameNode)
//	nn.Set("FSNamesystemState", "UnderReplicatedBlocks", 7)
//	nn.Patch("LiveNodes", "dn2:29862", map[string]any{"adminState": "Decommissioned"})
//	client.NameNodeInfo(ctx, nn.Addr())
//
// It imports nothing of ALPS, and only tests import it.
package jmxtest

import (
	"embed"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

//go:embed recorded/*.json
var recorded embed.FS

// What was recorded: all is well, a volume of dn2 has failed, dn2 is being
// decommissioned, dn2 is dead, safe mode is on.
const (
	NameNode       = "namenode-well"
	NameNodeVolume = "namenode-volfail"
	NameNodeDecom  = "namenode-decom"
	NameNodeDead   = "namenode-dead"
	NameNodeSafe   = "namenode-safemode"
	DataNode       = "datanode-well"    // dn1.
	DataNodeVolume = "datanode-volfail" // dn2.
)

// Server is one process with a page /jmx. Its methods may be called from any
// goroutine.
type Server struct {
	t    testing.TB
	http *httptest.Server

	mu    sync.Mutex
	beans []map[string]any
	asked int
	how   http.HandlerFunc
	hook  func(n int)
	below string
	other http.HandlerFunc
}

// New starts a Server that says what was recorded under a name. It ends with the
// test.
func New(t testing.TB, recording string) *Server {
	t.Helper()
	s := &Server{t: t}
	s.Load(recording)
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	return s
}

// Load makes s say what was recorded under another name.
func (s *Server) Load(recording string) {
	s.t.Helper()
	b, err := recorded.ReadFile("recorded/" + recording + ".json")
	if err != nil {
		s.t.Fatal(err)
	}
	var body map[string][]map[string]any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.beans == nil {
		s.beans = body["beans"]
		return
	}
	for _, bean := range body["beans"] { // beans that were not recorded stay.
		s.beans = append(without(s.beans, bean["name"].(string)), bean)
	}
}

func without(beans []map[string]any, name string) []map[string]any {
	var out []map[string]any
	for _, b := range beans {
		if b["name"] != name {
			out = append(out, b)
		}
	}
	return out
}

// Addr is the host:port at which s answers.
func (s *Server) Addr() string { return s.http.Listener.Addr().String() }

// Port is the port of Addr.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Addr())
	return port
}

// Set replaces one attribute of the bean with that short name; nil takes it
// away.
func (s *Server) Set(bean, attr string, v any) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bean(bean)
	if b[attr] = v; v == nil {
		delete(b, attr)
	}
}

// Text replaces an attribute whose value is JSON inside of a string.
func (s *Server) Text(bean, attr string, v any) {
	s.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Set(bean, attr, string(b))
}

// Patch changes a node in LiveNodes, DeadNodes or the like of NameNodeInfo; nil
// takes it out. A node that is not there is made.
func (s *Server) Patch(attr, key string, changes map[string]any) {
	s.t.Helper()
	s.mu.Lock()
	text, _ := s.bean("NameNodeInfo")[attr].(string)
	s.mu.Unlock()
	var nodes map[string]map[string]any
	if err := json.Unmarshal([]byte(text), &nodes); err != nil {
		s.t.Fatal(err)
	}
	if changes == nil {
		delete(nodes, key)
	} else {
		if nodes[key] == nil {
			nodes[key] = make(map[string]any)
		}
		maps.Copy(nodes[key], changes)
	}
	s.Text("NameNodeInfo", attr, nodes)
}

// Drop takes away every bean whose short name begins so.
func (s *Server) Drop(bean string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []map[string]any
	for _, b := range s.beans {
		if !strings.HasPrefix(short(b), bean) {
			out = append(out, b)
		}
	}
	s.beans = out
}

// Answer makes h answer instead of s; nil ends that.
func (s *Server) Answer(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how = h
}

// Serve has h answer what is asked below a path that begins so.
func (s *Server) Serve(path string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.below, s.other = path, h
}

// Hang makes s take connections and say nothing, until who asks gives up.
func (s *Server) Hang() {
	s.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// Close makes s refuse connections.
func (s *Server) Close() { s.http.Close() }

// Deafen makes s refuse new connections. Unlike Close it does not wait for what
// is being answered, and may be called by that.
func (s *Server) Deafen() { _ = s.http.Listener.Close() } // it is closed, one way or the other.

// OnAsk has do called before each answer, with the number of the request.
func (s *Server) OnAsk(do func(n int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = do
}

// Asked is how many requests have come.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// bean returns the first bean whose short name begins so. The caller holds the
// lock.
func (s *Server) bean(name string) map[string]any {
	s.t.Helper()
	for _, b := range s.beans {
		if short(b) == name {
			return b
		}
	}
	for _, b := range s.beans {
		if strings.HasPrefix(short(b), name) {
			return b
		}
	}
	s.t.Fatalf("no bean %q was recorded", name)
	return nil
}

func short(bean map[string]any) string {
	name, _ := bean["name"].(string)
	_, after, _ := strings.Cut(name, "name=")
	return after
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.other != nil && strings.HasPrefix(r.URL.Path, s.below) {
		h := s.other
		s.mu.Unlock()
		h(w, r)
		return
	}
	s.asked++
	if n, hook := s.asked, s.hook; hook != nil {
		s.mu.Unlock()
		hook(n)
		s.mu.Lock()
	}
	how := s.how
	var out []map[string]any
	query := r.URL.Query().Get("qry")
	for _, b := range s.beans {
		name, _ := b["name"].(string)
		if prefix, open := strings.CutSuffix(query, "*"); name == query || open && strings.HasPrefix(name, prefix) {
			out = append(out, b)
		}
	}
	if out == nil {
		out = []map[string]any{}
	}
	body, err := json.MarshalIndent(map[string]any{"beans": out}, "", "  ")
	s.mu.Unlock()
	switch {
	case how != nil:
		how(w, r)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case r.URL.Path != "/jmx":
		http.NotFound(w, r)
	default:
		_, _ = w.Write(body)
	}
}
