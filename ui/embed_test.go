package ui

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// send asks the handler for one path.
func send(t *testing.T, method, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

// script returns the path of the application, as the page names it.
func script(t *testing.T) string {
	t.Helper()
	page := send(t, http.MethodGet, "/ui/", nil).Body.Bytes()
	m := regexp.MustCompile(`src="([^"]+\.js)"`).FindSubmatch(page)
	if m == nil {
		t.Fatalf("the page names no script:\n%s", page)
	}
	return string(m[1])
}

func TestPaths(t *testing.T) {
	app := script(t)
	for _, tc := range []struct {
		name, method, path string
		status             int
		kind, caching, to  string
	}{
		{"the bare address leads to the pages", http.MethodGet, "/", http.StatusFound, "text/html; charset=utf-8", "no-cache", "/ui/"},
		{"so does the base without its slash", http.MethodGet, "/ui", http.StatusFound, "text/html; charset=utf-8", "no-cache", "/ui/"},
		{"the base is the page", http.MethodGet, "/ui/", http.StatusOK, "text/html; charset=utf-8", "no-cache", ""},
		{"a tab is the page", http.MethodGet, "/ui/services", http.StatusOK, "text/html; charset=utf-8", "no-cache", ""},
		{"a node is the page", http.MethodGet, "/ui/nodes/bj-e-hadoop01-11-203", http.StatusOK, "text/html; charset=utf-8", "no-cache", ""},
		{"a query changes nothing", http.MethodGet, "/ui/kv?prefix=a/b/", http.StatusOK, "text/html; charset=utf-8", "no-cache", ""},
		{"only the header is asked for", http.MethodHead, "/ui/jobs", http.StatusOK, "text/html; charset=utf-8", "no-cache", ""},
		{"the script", http.MethodGet, app, http.StatusOK, "text/javascript; charset=utf-8", immutable, ""},
		{"the licences", http.MethodGet, "/ui/licenses.txt", http.StatusOK, "text/plain; charset=utf-8", "no-cache", ""},
		{"no page of the application", http.MethodGet, "/ui/nope", http.StatusNotFound, "text/plain; charset=utf-8", "no-cache", ""},
		{"a page's name is a whole part", http.MethodGet, "/ui/nodesx", http.StatusNotFound, "text/plain; charset=utf-8", "no-cache", ""},
		{"a script of another build", http.MethodGet, "/ui/assets/app-0000000000.js", http.StatusNotFound, "text/plain; charset=utf-8", "no-cache", ""},
		{"the page has one path", http.MethodGet, "/ui/index.html", http.StatusNotFound, "text/plain; charset=utf-8", "no-cache", ""},
		{"an empty part", http.MethodGet, "/ui//", http.StatusNotFound, "text/plain; charset=utf-8", "no-cache", ""},
		{"not below the base", http.MethodGet, "/v1/status", http.StatusNotFound, "text/plain; charset=utf-8", "no-cache", ""},
		{"nothing is written", http.MethodPost, "/ui/", http.StatusMethodNotAllowed, "text/plain; charset=utf-8", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := send(t, tc.method, tc.path, nil)
			text := res.Body.Bytes()
			got := []string{res.Header().Get("Content-Type"), res.Header().Get("Cache-Control"), res.Header().Get("Location")}
			if res.Code != tc.status || !slices.Equal(got, []string{tc.kind, tc.caching, tc.to}) {
				t.Errorf("%s %s: got %d %q, want %d %q", tc.method, tc.path, res.Code, got, tc.status, []string{tc.kind, tc.caching, tc.to})
			}
			if tc.method == http.MethodHead && len(text) > 0 {
				t.Errorf("HEAD got a body of %d bytes", len(text))
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options":  "nosniff",
				"Content-Security-Policy": policy,
				"Referrer-Policy":         "no-referrer",
			} {
				if got := res.Header().Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestPolicyAllowsNothingInline(t *testing.T) {
	for _, bad := range []string{"unsafe", "http:", "https:", "*", "blob:"} {
		if strings.Contains(policy, bad) {
			t.Errorf("the policy holds %q", bad)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("the policy begins with something else than nothing: %s", policy)
	}
	page := send(t, http.MethodGet, "/ui/", nil).Body.String()
	for _, inline := range []*regexp.Regexp{
		regexp.MustCompile(`<style`), regexp.MustCompile(`\sstyle=`), regexp.MustCompile(`\son\w+=`), regexp.MustCompile(`<script[^>]*>[^<]`),
		regexp.MustCompile(`(src|href)="[^/]`),
	} {
		if m := inline.FindString(page); m != "" {
			t.Errorf("the page holds %q, which its policy forbids", m)
		}
	}
}

func TestCompressedIsTheSame(t *testing.T) {
	app := script(t)
	plain := send(t, http.MethodGet, app, nil)
	packed := send(t, http.MethodGet, app, http.Header{"Accept-Encoding": {"br;q=1.0, gzip;q=0.8, *;q=0.1"}})
	if got := packed.Header().Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding: got %q, want gzip", got)
	}
	if plain.Header().Get("Content-Encoding") != "" {
		t.Error("compressed for who did not ask")
	}
	zr, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	if want := plain.Body.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("unpacked %d bytes, want the %d of the script", len(got), len(want))
	}
}

// TestFirstLoadIsSmall holds what a browser that comes for the first time
// fetches below what a slow line carries in a second or two.
func TestFirstLoadIsSmall(t *testing.T) {
	h, err := load(dist)
	if err != nil {
		t.Fatal(err)
	}
	const most = 120 << 10
	sum := len(h.index.body)
	for _, a := range h.assets {
		if a.gzipped != nil {
			sum += len(a.gzipped)
		} else {
			sum += len(a.body)
		}
	}
	if sum > most {
		t.Errorf("the first load is %d bytes, at most %d are wanted", sum, most)
	}
}

func TestAcceptsGzip(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []string
		want bool
	}{
		{"nothing said", nil, false},
		{"named", []string{"gzip"}, true},
		{"in a list", []string{"deflate, gzip;q=1.0, br"}, true},
		{"in a second line", []string{"br", "gzip"}, true},
		{"weight zero", []string{"gzip;q=0"}, false},
		{"anything", []string{"*"}, true},
		{"anything else", []string{"*, gzip;q=0"}, false},
		{"only others", []string{"br, zstd"}, false},
		{"nothing else", []string{"gzip, *;q=0"}, true},
		{"no number", []string{"gzip;q=x"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := acceptsGzip(tc.in); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestUnchangedIsNotSentAgain(t *testing.T) {
	etag := send(t, http.MethodGet, "/ui/", nil).Header().Get("ETag")
	if etag == "" {
		t.Fatal("the page has no ETag")
	}
	for _, tc := range []struct {
		name, header string
		want         int
	}{
		{"the same", etag, http.StatusNotModified},
		{"in a list", `"x", ` + etag, http.StatusNotModified},
		{"told strongly", strings.TrimPrefix(etag, "W/"), http.StatusNotModified},
		{"any", "*", http.StatusNotModified},
		{"another", `"x"`, http.StatusOK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := send(t, http.MethodGet, "/ui/", http.Header{"If-None-Match": {tc.header}})
			if res.Code != tc.want {
				t.Errorf("got %d, want %d", res.Code, tc.want)
			}
			if n := res.Body.Len(); tc.want == http.StatusNotModified && n > 0 {
				t.Errorf("304 with a body of %d bytes", n)
			}
		})
	}
}

func TestBuildWithoutAPage(t *testing.T) {
	if h, err := load(fstest.MapFS{"dist/assets/app.js": {Data: []byte("1")}}); err == nil {
		t.Errorf("loaded a build without a page: %v", slices.Collect(maps.Keys(h.assets)))
	}
}

func TestPagesAreThoseOfTheApplication(t *testing.T) {
	src, err := sources.ReadFile("src/app.tsx")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`case "([a-z]+)": return <`).FindAllSubmatch(src, -1) {
		got = append(got, string(m[1]))
	}
	if diff := cmp.Diff(pages(), got); diff != "" {
		t.Errorf("src/app.tsx shows other pages (-handler +application):\n%s", diff)
	}
}

func FuzzHandler(f *testing.F) {
	for _, seed := range []string{"/", "/ui/", "/ui/nodes/x", "/ui/../v1", "/ui/assets/", "/ui/%2e%2e/"} {
		f.Add(seed, "gzip;q=0.5", `"x"`)
	}
	h := Handler()
	f.Fuzz(func(t *testing.T, path, encoding, etag string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.URL.Path = path
		r.Header = http.Header{"Accept-Encoding": {encoding}, "If-None-Match": {etag}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK, http.StatusFound, http.StatusNotFound, http.StatusNotModified:
		default:
			t.Errorf("%q: got %d", path, w.Code)
		}
		if w.Header().Get("Content-Security-Policy") != policy {
			t.Errorf("%q was answered without the policy", path)
		}
	})
}
