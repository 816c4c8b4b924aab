package webhdfs_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/webhdfs"
	"alps/checks/hdfs/webhdfstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers with h, and returns its address.
func serve(t *testing.T, h http.HandlerFunc) (addr string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestFake: what tests take for an HDFS is held to what a real one is held to,
// in hdfstest.
func TestFake(t *testing.T) {
	files := webhdfstest.New("nn1:8020")
	webhdfstest.Suite(t, webhdfstest.Target{
		DataNode: serve(t, files.DataNode), Below: files.Below,
		Active:  webhdfstest.Address{RPC: "nn1:8020", HTTP: serve(t, files.NameNode)},
		Standby: webhdfstest.Address{RPC: "nn2:8020", HTTP: serve(t, webhdfstest.Standby)},
	})
}

func say(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func TestAnswers(t *testing.T) {
	const disk = `{"RemoteException": {"exception": "IOException", "message": "File /x could only be written to 0 of the 1 minReplication nodes."}}`
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   jmx.Kind
		tried  bool
		text   string
	}{
		"a login":           {say(401, "<html>"), jmx.Denied, false, "401: it wants a login"},
		"a filter":          {say(403, "Forbidden"), jmx.Denied, false, "403"},
		"no WebHDFS":        {say(404, ""), jmx.Garbled, false, "404"},
		"Java is closed":    {say(500, "<html>ExceptionInInitializerError"), jmx.Garbled, false, "500"},
		"a disk":            {say(403, disk), webhdfs.Refused, true, "IOException: File /x could"},
		"a reason in vain":  {say(403, `{"RemoteException": {}}`), jmx.Denied, false, "403"},
		"a page for people": {say(200, "<html>"), jmx.Garbled, false, ""},
		"another success":   {say(204, ""), jmx.Garbled, false, "204"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusTemporaryRedirect)
		}, jmx.Garbled, false, "307 and sends us elsewhere"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				err = conn.Close()
			}
			if err != nil {
				t.Error(err)
			}
		}, jmx.NoAnswer, true, "the connection failed"},
		"cut off in a word": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, disk[:40])
		}, jmx.Garbled, true, "in the middle"},
		"silent": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, jmx.Slow, true, "in time"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, tc.answer)
			o := webhdfs.Options{User: "u", Timeout: time.Minute}
			if tc.kind == jmx.Slow {
				o.Timeout = 50 * time.Millisecond
			}
			for what, err := range map[string]error{
				"write":   webhdfs.New(o).Create(t.Context(), addr, webhdfs.File{Path: "/x", NameNode: "nn:1", Copies: 1}),
				"removal": webhdfs.New(o).Remove(t.Context(), addr, "/x"),
			} {
				e, ok := errors.AsType[*webhdfs.Error](err)
				if !ok || e.Kind != tc.kind || e.Tried != tc.tried || !strings.Contains(e.Text, tc.text) || !strings.Contains(err.Error(), addr) {
					t.Errorf("%s: got %#v, want %s, tried %v, with %q", what, err, tc.kind, tc.tried, tc.text)
				}
			}
		})
	}
	s := httptest.NewServer(say(201, ""))
	s.Close()
	err := webhdfs.New(webhdfs.Options{User: "u"}).Create(t.Context(), s.Listener.Addr().String(), webhdfs.File{Path: "/x"})
	if e, ok := errors.AsType[*webhdfs.Error](err); !ok || e.Kind != jmx.NoAnswer || webhdfs.Tried(err) {
		t.Errorf("nobody listens: %#v", err)
	}
}

// TestUser: it writes in the name that Hadoop's programs would write in.
func TestUser(t *testing.T) {
	var got string
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Query().Get("user.name")
		w.WriteHeader(http.StatusCreated)
	})
	for name, tc := range map[string]struct {
		env  string
		want func(string) bool
	}{
		"HADOOP_USER_NAME":  {"hdfs", func(s string) bool { return s == "hdfs" }},
		"who runs the test": {"", func(s string) bool { return s != "" && s != "hdfs" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HADOOP_USER_NAME", tc.env)
			err := webhdfs.New(webhdfs.Options{}).Create(t.Context(), addr, webhdfs.File{Path: "/x", Copies: 1})
			if err != nil || !tc.want(got) {
				t.Errorf("in the name of %q, %v", got, err)
			}
		})
	}
}
