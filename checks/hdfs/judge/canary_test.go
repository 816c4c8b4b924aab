package judge

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"alps/checks/hdfs/webhdfstest"
)

// after has do called once, when so many files were written, and keeps what was
// in HDFS then.
func (w *world) after(n int, do func()) (then func() map[string]webhdfstest.File) {
	var mu sync.Mutex
	var seen map[string]webhdfstest.File
	wrote := 0
	w.files.OnWrite(func() {
		mu.Lock()
		defer mu.Unlock()
		if wrote++; wrote == n {
			seen = w.files.All()
			do()
		}
	})
	return func() map[string]webhdfstest.File {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

// TestConfirmProvokes: where HDFS is silent, files are written one by one until
// it notices, and removed again.
func TestConfirmProvokes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world)
		at     int // the file after which it notices.
		copies string
		files  string
	}{
		"by the first":             {func(*world) {}, 1, "4", "1 files in /tmp/alps-canary-"},
		"by the last":              {func(*world) {}, 8, "4", "8 files in /tmp/alps-canary-"},
		"each has its own address": {apart, 2, "1", "2 files in /tmp/alps-canary-"},
		"more are wanted of all":   {func(w *world) { apart(w); w.set("dfs.namenode.replication.min", "2") }, 2, "2", "2 files in /tmp/alps-canary-"},
		"a large cluster":          {func(w *world) { apart(w); many(w, 40) }, 2, "1", "2 files in /tmp/alps-canary-"},
		"the disk fails the write": {func(w *world) { w.files.Break() }, 2, "4", "IOException: File /tmp/alps-canary-"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.breakDisk(1)
			tc.change(w)
			then := w.after(tc.at, func() { w.gaveUp(1) })
			got := w.ask("confirm")
			expect(t, got, ok, "")
			if !strings.Contains(got.Evidence["canary"], tc.files) || !strings.Contains(got.Evidence["source_2"], "has given up") {
				t.Errorf("evidence %v, want %q in it", got.Evidence, tc.files)
			}
			if len(then()) != tc.at {
				t.Errorf("it wrote %v", then())
			}
			for name, f := range then() {
				if !strings.HasPrefix(name, "/tmp/alps-canary-") || f.Copies != tc.copies || f.Text == "" {
					t.Errorf("%s has %s copies of %q, want %s", name, f.Copies, f.Text, tc.copies)
				}
			}
			if left := w.files.All(); len(left) > 0 {
				t.Errorf("left behind: %q", slices.Collect(maps.Keys(left)))
			}
		})
	}
}

// apart gives every DataNode but this one an address of its own.
func apart(w *world) {
	for _, other := range []string{"dn2:29862", "dn3:29863", "dn4:29864"} {
		w.node(other, map[string]any{"xferaddr": "192.0.2." + other[2:3] + ":29860"})
	}
}

// webHDFS has h answer for the DataNode where it is made to write.
func (w *world) webHDFS(h http.HandlerFunc) { w.dn.Serve("/webhdfs/", h) }

// cut breaks the connection off.
func cut(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func page(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html>")
	}
}

func TestConfirmDoesNotProvoke(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world)
		args   []string
		reason string
		canary string // in the evidence.
	}{
		"it is not to":       {func(*world) {}, []string{"canary=off"}, "canary is off", ""},
		"a dry run":          {func(w *world) { w.t.Setenv("ALPS_DRY_RUN", "1") }, nil, "in a dry run", ""},
		"the DataNode hangs": {func(w *world) { w.dn.Drop("FSDatasetState") }, nil, "does not say what it knows", ""},
		"a login":            {func(w *world) { w.webHDFS(page(401)) }, nil, "could not be made to look: WebHDFS at 127.0.0.1:", "0 files"},
		"a filter":           {func(w *world) { w.webHDFS(page(403)) }, nil, "403: it wants a login, or does not let us in", "0 files"},
		"no WebHDFS":         {func(w *world) { w.webHDFS(page(404)) }, nil, "it answers 404", "0 files"},
		"nonsense":           {func(w *world) { w.webHDFS(page(200)) }, nil, "it answers 200", "0 files"},
		"elsewhere": {func(w *world) {
			w.webHDFS(http.RedirectHandler("http://192.0.2.1/", http.StatusTemporaryRedirect).ServeHTTP)
		}, nil, "sends us elsewhere", "0 files"},
		"it has failed over":    {func(w *world) { w.set("dfs.namenode.rpc-address.ns1.nn1", "127.0.0.1:8022") }, nil, "StandbyException: Operation category WRITE", "0 files"},
		"it may not":            {func(w *world) { w.user = "alice" }, nil, "AccessControlException: Permission denied: user=alice", "0 files"},
		"it writes without end": {func(w *world) { w.patience = 20 * time.Millisecond; w.webHDFS(hang) }, nil, "it did not answer in time", "8 files"},
		"it breaks off":         {func(w *world) { w.webHDFS(cut(w.t)) }, nil, "the connection failed", "8 files"},
		"no disk takes it":      {func(w *world) { w.files.Break() }, nil, "could not be made to look: WebHDFS at 127.0.0.1:", "8 files"},
		"it notices nothing":    {func(*world) {}, nil, "although files were written", "8 files"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.breakDisk(1)
			tc.change(w)
			got := w.ask("confirm", tc.args...)
			expect(t, got, no, tc.reason)
			if !strings.HasPrefix(got.Reason, "only one source: ") || !strings.HasPrefix(got.Evidence["canary"], tc.canary) || tc.canary == "" && got.Evidence["canary"] != "" {
				t.Errorf("%s\n%v", got.Reason, got.Evidence)
			}
			if left := w.files.All(); len(left) > 0 {
				t.Errorf("left behind: %q", slices.Collect(maps.Keys(left)))
			}
		})
	}
}

// TestConfirmStopsIt: a DataNode that tolerates no failure stops while it
// writes, and breaks the connection off.
func TestConfirmStopsIt(t *testing.T) {
	w := newWorld(t)
	w.set("dfs.datanode.failed.volumes.tolerated", "0")
	w.breakDisk(1)
	w.webHDFS(func(rw http.ResponseWriter, r *http.Request) {
		w.die(key, "In Service")
		w.dn.Deafen()
		cut(t)(rw, r)
	})
	got := w.ask("confirm")
	expect(t, got, ok, "")
	if !strings.Contains(got.Evidence["source_2"], "has stopped") || !strings.Contains(got.Evidence["canary"], "1 files in") {
		t.Errorf("evidence %v", got.Evidence)
	}
}

// TestConfirmIsHeard: it answers when the NameNode knows of the volume, for only
// then does that know what is lost; but it does not wait for ever.
func TestConfirmIsHeard(t *testing.T) {
	w := newWorld(t)
	w.notice = time.Minute
	w.breakDisk(1)
	w.gaveUp(1)
	w.node(key, map[string]any{"volfails": 0})
	asked := w.nn.Asked()
	go func() {
		for end := time.Now().Add(time.Minute); w.nn.Asked() < asked+8 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		w.node(key, map[string]any{"volfails": 1})
	}()
	got := w.ask("confirm")
	expect(t, got, ok, "")
	if got.Evidence["namenode"] != "" || w.nn.Asked() < asked+8 {
		t.Errorf("it asked %d times, and says %v", w.nn.Asked()-asked, got.Evidence)
	}
	w.node(key, map[string]any{"volfails": 0})
	w.notice = time.Millisecond
	got = w.ask("confirm")
	expect(t, got, ok, "")
	if got.Evidence["namenode"] != "it has not heard of a failed volume" {
		t.Errorf("it says %v", got.Evidence)
	}
}

// TestConfirmLeaves: files that cannot be removed are named, with the reason.
func TestConfirmLeaves(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"Java is closed":    {page(500), "it answers 500"},
		"nonsense":          {page(200), "it does not say whether it has removed anything"},
		"a login":           {page(401), "401: it wants a login"},
		"a standby":         {webhdfstest.Standby, "StandbyException: "},
		"it breaks off":     {cut(t), "the connection failed"},
		"it hangs":          {hang, "it did not answer in time"},
		"it goes elsewhere": {http.RedirectHandler("http://192.0.2.1/", http.StatusTemporaryRedirect).ServeHTTP, "sends us elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.patience = time.Second
			w.breakDisk(1)
			w.after(2, func() { w.gaveUp(1) })
			w.nn.Serve("/webhdfs/", tc.answer)
			got := w.ask("confirm")
			expect(t, got, ok, "")
			said := got.Evidence["canary"]
			dir, _, _ := strings.Cut(strings.TrimPrefix(said, "2 files in "), ";")
			if len(w.files.Below(dir)) != 2 || !strings.Contains(said, "they are not removed: WebHDFS at "+w.nn.Addr()) || !strings.Contains(said, tc.want) {
				t.Errorf("it says %q of %v, want %q", said, w.files.All(), tc.want)
			}
		})
	}
}
