package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed dist
var dist embed.FS

// Base is the path that the pages live under.
const Base = "/ui/"

// policy lets a page load its own script, style and images and speak to its own
// server. There is no inline script or style to allow.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const (
	// immutable is for what has its hash in its name.
	immutable = "public, max-age=31536000, immutable"
	// revalidated is for what keeps its name: the browser asks each time.
	revalidated = "no-cache"
	// compressable is the length above which compressing is worth a header.
	compressable = 512
)

// pages are the first parts of the paths that the application has a page for.
// Anything else below Base does not exist: a wrong link is told as one.
func pages() []string { return []string{"services", "nodes", "kv", "acl", "jobs", "alerts", "remedy"} }

// asset is one file of the build, ready to be sent.
type asset struct {
	body, gzipped []byte // gzipped is nil where it would not be smaller.
	kind          string
	etag          string
	caching       string
}

// handler serves the build. It is immutable.
type handler struct {
	assets map[string]*asset // by path below Base.
	index  *asset
}

// Handler returns what answers the bare address and everything below Base. It
// serves one page for every path that the application knows, takes GET and HEAD
// alone, and asks nobody who they are: the page holds nothing, and the API asks.
// A build that cannot be read is a build that was never embedded, which no
// caller could handle, so Handler panics then.
func Handler() http.Handler {
	h, err := load(dist)
	if err != nil {
		panic(err)
	}
	return h
}

func load(files fs.FS) (*handler, error) {
	h := &handler{assets: map[string]*asset{}}
	err := fs.WalkDir(files, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		below := strings.TrimPrefix(name, "dist/")
		a, err := newAsset(below, body)
		h.assets[below] = a
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the build of the web UI: %w", err)
	}
	h.index = h.assets["index.html"]
	if h.index == nil {
		return nil, fmt.Errorf("read the build of the web UI: %w", fs.ErrNotExist)
	}
	delete(h.assets, "index.html")
	return h, nil
}

// kindOf does not ask the machine's tables: they differ, and a script that is
// sent as something else does not run.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func newAsset(name string, body []byte) (*asset, error) {
	sum := sha256.Sum256(body)
	a := &asset{body: body, kind: kindOf(name), etag: `W/"` + hex.EncodeToString(sum[:12]) + `"`, caching: revalidated}
	if strings.HasPrefix(name, "assets/") {
		a.caching = immutable
	}
	if len(body) < compressable {
		return a, nil
	}
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := zw.Write(body); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	if buf.Len() < len(body) {
		a.gzipped = buf.Bytes()
	}
	return a, nil
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/" || r.URL.Path == strings.TrimSuffix(Base, "/") {
		head.Set("Cache-Control", revalidated)
		http.Redirect(w, r, Base, http.StatusFound)
		return
	}
	a := h.find(r.URL.Path)
	if a == nil {
		head.Set("Cache-Control", revalidated)
		http.Error(w, "there is no such page", http.StatusNotFound)
		return
	}
	a.send(w, r)
}

// find returns what a path means, nil for nothing.
func (h *handler) find(where string) *asset {
	below, ok := strings.CutPrefix(where, Base)
	if !ok {
		return nil
	}
	if a := h.assets[below]; a != nil {
		return a
	}
	first, _, _ := strings.Cut(below, "/")
	if below == "" {
		return h.index
	}
	if slices.Contains(pages(), first) {
		return h.index
	}
	return nil
}

func (a *asset) send(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Cache-Control", a.caching)
	head.Set("ETag", a.etag)
	head.Set("Vary", "Accept-Encoding")
	if matches(r.Header.Values("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.body
	if a.gzipped != nil && acceptsGzip(r.Header.Values("Accept-Encoding")) {
		head.Set("Content-Encoding", "gzip")
		body = a.gzipped
	}
	head.Set("Content-Type", a.kind)
	head.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // who hangs up does not want the rest.
}

// matches compares as a conditional GET does: weakly, in a list or with a star.
func matches(lists []string, etag string) bool {
	for _, list := range lists {
		for one := range strings.SplitSeq(list, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == strings.TrimPrefix(etag, "W/") {
				return true
			}
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding as far as it matters here: what it says of
// gzip, or of anything when it does not, is taken unless its weight is zero.
func acceptsGzip(lists []string) bool {
	anything := false
	for _, list := range lists {
		for one := range strings.SplitSeq(list, ",") {
			coding, params, err := mime.ParseMediaType(strings.TrimSpace(one))
			if err != nil {
				continue
			}
			weight, err := strconv.ParseFloat(params["q"], 64)
			taken := params["q"] == "" || err == nil && weight > 0
			switch coding {
			case "gzip":
				return taken
			case "*":
				anything = taken
			}
		}
	}
	return anything
}
