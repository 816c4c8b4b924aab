package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/api/apitest"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// store is an estate with a few keys, all at index 7.
func store(t *testing.T, keys ...string) *apitest.Estate {
	t.Helper()
	e := estate(t)
	e.Loop.Change(func(s *apitest.LoopState) {
		s.Keys = map[string]v1.KVPair{}
		for _, k := range keys {
			s.Keys[k] = v1.KVPair{Key: k, Value: []byte("old"), Index: 7, Created: 3}
		}
	})
	return e
}

func TestKeys(t *testing.T) {
	e := store(t, "app", "app/a", "app/b/c", "app/b/d", "alps/config/global/x", "alps/job/1")
	c := e.Client(t, auth.Viewer, "")
	tests := []struct {
		name, prefix string
		want         []string
	}{
		{"the top", "", []string{"alps/", "app", "app/"}},
		{"a folder", "app/", []string{"app/a", "app/b/"}},
		{"a name and its folder", "app", []string{"app", "app/"}},
		{"a prefix within a name", "app/b/", []string{"app/b/c", "app/b/d"}},
		{"nothing", "nope/", []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.Keys(t.Context(), "", tt.prefix)
			if diff := cmp.Diff(v1.KVList{Prefix: tt.prefix, Keys: tt.want}, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestKeysAreWrittenByWhoReadThem(t *testing.T) {
	e := store(t, "app/a")
	c := e.Client(t, auth.Operator, "")
	ctx := t.Context()
	write := func(key string, index uint64) (v1.KVPair, error) {
		return c.PutKey(ctx, "", key, v1.KVWrite{Value: []byte("new"), Index: index})
	}
	refused := func(what string, err error, says string) {
		t.Helper()
		got, ok := errors.AsType[*mesh.Error](err)
		if !ok || got.Code != mesh.Conflict || !strings.Contains(got.Message, says) || !strings.Contains(got.Hint, "read it") {
			t.Errorf("%s: got %#v, want a conflict that says %q and what to do", what, err, says)
		}
	}
	read, err := c.Key(ctx, "", "app/a")
	if diff := cmp.Diff(v1.KVPair{Key: "app/a", Value: []byte("old"), Index: 7, Created: 3}, read); diff != "" || err != nil {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	wrote, err := write("app/a", read.Index)
	if err != nil || wrote.Index <= read.Index || wrote.Value == nil || len(wrote.Value) != 0 {
		t.Errorf("with the index that was read: %+v, %v", wrote, err)
	}
	_, err = write("app/a", read.Index)
	refused("with it again", err, "somebody else")
	_, err = write("app/a", 0)
	refused("as a new key", err, "already")
	_, err = write("app/b", 3)
	refused("a key that is gone", err, "somebody else")
	refused("a delete with an old index", c.DeleteKey(ctx, "", "app/a", read.Index), "somebody else")
	if got := e.Loop.State().Keys["app/a"]; string(got.Value) != "new" {
		t.Errorf("the key holds %q, want what the first wrote", got.Value)
	}
	wantCode(t, "a delete", c.DeleteKey(ctx, "", "app/a", wrote.Index), "")
	refused("a second delete", c.DeleteKey(ctx, "", "app/a", wrote.Index), "somebody else")
	wantCode(t, "a delete without an index", c.DeleteKey(ctx, "", "app/a", 0), mesh.Invalid)
	_, err = c.Key(ctx, "", "app/a")
	wantCode(t, "reading it after that", err, mesh.NotFound)
	_, err = write("app/a", 0)
	wantCode(t, "making it anew", err, "")
}

func TestProtectedKeys(t *testing.T) {
	tests := []struct {
		key  string
		code mesh.Code // of writing and of deleting it.
	}{
		{"app/alps/x", ""},
		{"alpsx", ""},
		{"ALPS/x", ""},
		{"alps/config/global/log", ""},
		{"alps/config", mesh.Denied},
		{"alps/", mesh.Denied},
		{"alps/job/1", mesh.Denied},
		{"alps/configuration", mesh.Denied},
		{"/alps/job/1", mesh.Invalid}, // Consul drops the slash.
		{"//alps/job/1", mesh.Invalid},
		{"alps//job", mesh.Invalid},
		{"alps/config/../job/1", mesh.Invalid},
		{"alps/config/./x", mesh.Invalid},
		{"..", mesh.Invalid},
		{" alps/job/1", mesh.Invalid},
		{"alps/config/x ", mesh.Invalid},
		{"app/\x00", mesh.Invalid},
		{"app/\n", mesh.Invalid},
		{"app/\x7f", mesh.Invalid},
		{"app/\xff", mesh.Invalid},
		{strings.Repeat("x", 1024), ""},
		{strings.Repeat("x", 1025), mesh.Invalid},
		{strings.Repeat("é", 600), mesh.Invalid}, // 1200 bytes.
		{"", mesh.Invalid},
		{"app/a?b=c&d#e%2f..;é", ""},
	}
	for _, tt := range tests {
		t.Run(url.PathEscape(tt.key[:min(len(tt.key), 30)]), func(t *testing.T) {
			stored := strings.TrimPrefix(tt.key, "/")
			e := store(t)
			c := e.Client(t, auth.Operator, "")
			_, err := c.PutKey(t.Context(), "", tt.key, v1.KVWrite{Value: []byte("x")})
			wantCode(t, "writing", err, tt.code)
			if n := len(e.Loop.State().Keys); n != 0 && tt.code != "" {
				t.Errorf("%d keys were written", n)
			}
			e = store(t, stored)
			c = e.Client(t, auth.Operator, "")
			wantCode(t, "deleting", c.DeleteKey(t.Context(), "", tt.key, 7), tt.code)
			if n := len(e.Loop.State().Keys); (n == 0) != (tt.code == "") {
				t.Errorf("%d keys are left", n)
			}
			if tt.code == mesh.Invalid {
				return
			}
			e = store(t, stored)
			got, err := e.Client(t, auth.Operator, "").Key(t.Context(), "", tt.key)
			if err != nil || (got.Protected != "") != (tt.code == mesh.Denied) {
				t.Errorf("reading: protected %q, %v", got.Protected, err)
			}
		})
	}
}

func TestValuesTravelWhole(t *testing.T) {
	e := store(t)
	c := e.Client(t, auth.Operator, "")
	most := bytes.Repeat([]byte{0, 0xff, '\n', '"'}, v1.MaxValue/4)
	for name, tt := range map[string]struct {
		value []byte
		code  mesh.Code
	}{
		"none":            {nil, ""},
		"an empty one":    {[]byte{}, ""},
		"the largest":     {most, ""},
		"a byte more":     {append(bytes.Clone(most), 'x'), mesh.TooLarge},
		"a body too long": {make([]byte, 2<<20), mesh.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.PutKey(t.Context(), "", "app/"+name, v1.KVWrite{Value: tt.value})
			wantCode(t, "writing", err, tt.code)
			if tt.code != "" {
				if _, stored := e.Loop.State().Keys["app/"+name]; stored {
					t.Error("it was written")
				}
				return
			}
			got, err := c.Key(t.Context(), "", "app/"+name)
			if err != nil || !bytes.Equal(got.Value, tt.value) {
				t.Errorf("%d bytes came back, %v; want the %d that were written", len(got.Value), err, len(tt.value))
			}
		})
	}
}

// TestAnEmptyValueIsNoNull keeps to the document: a value is a text.
func TestAnEmptyValueIsNoNull(t *testing.T) {
	e := store(t)
	e.Loop.Change(func(s *apitest.LoopState) { s.Keys["a"] = v1.KVPair{Key: "a", Index: 1} })
	c := as(t, e, auth.Operator, "")
	for _, a := range []answer{
		c.do(http.MethodGet, "/v1/kv/value?key=a", ""),
		c.do(http.MethodPut, "/v1/kv/value?key=a", `{"value":"eA==","index":1}`),
	} {
		var got map[string]any
		if err := json.Unmarshal(a.body, &got); err != nil || got["value"] != "" {
			t.Errorf("%d %s, %v; want the value \"\"", a.status, a.body, err)
		}
	}
	for name, body := range map[string]string{
		"no base64": `{"value":"%","index":0}`,
		"no value":  `{"index":0}`,
		"no index":  `{"value":""}`,
		"no number": `{"value":"","index":-1}`,
	} {
		if a := c.do(http.MethodPut, "/v1/kv/value?key=b", body); a.problem.Code != mesh.Invalid {
			t.Errorf("%s: got %d %+v, want it refused", name, a.status, a.problem)
		}
	}
}

func TestWritesOfKeysAreAudited(t *testing.T) {
	e := store(t, "app/a", "alps/job/1")
	c := e.Client(t, auth.Operator, "")
	ctx := t.Context()
	_, _ = c.PutKey(ctx, "dc2", "app/a", v1.KVWrite{Value: []byte("hunter2"), Index: 7, Reason: "new password"})
	_, _ = c.PutKey(ctx, "", "app/a", v1.KVWrite{Index: 7})
	_, _ = c.PutKey(ctx, "", "alps/job/1", v1.KVWrite{Index: 7})
	_ = c.DeleteKey(ctx, "", "/alps/job/1", 7)
	_ = c.DeleteKey(ctx, "dc2", "app/a", 8)
	line := func(action, object string, outcome mesh.Outcome, detail map[string]string) mesh.Audit {
		return mesh.Audit{Actor: "operator", From: "127.0.0.1", Action: action, Object: object, Outcome: outcome, Detail: detail}
	}
	wantAudit(t, e, []mesh.Audit{
		line("kv.put", "app/a", mesh.OutcomeDone, map[string]string{"dc": "dc2", "reason": "new password", "bytes": "7", "index": "7"}),
		line("kv.put", "app/a", mesh.OutcomeRefused, map[string]string{"dc": "", "reason": "", "bytes": "0", "index": "7"}),
		line("kv.put", "alps/job/1", mesh.OutcomeRefused, map[string]string{"dc": "", "reason": "", "bytes": "0", "index": "7"}),
		line("kv.delete", "/alps/job/1", mesh.OutcomeRefused, map[string]string{"dc": "", "index": "7"}),
		line("kv.delete", "app/a", mesh.OutcomeDone, map[string]string{"dc": "dc2", "index": "8"}),
	})
}
