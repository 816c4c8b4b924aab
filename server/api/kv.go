package api

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

// What lies under ownKeys is written by ALPS, and by its rules: a key that a
// person changed there would be a job, a lock or a record that nobody checked.
// Only the configuration of nodes is for people.
const (
	ownKeys    = "alps/"
	configKeys = "alps/config/"
	maxKey     = 1024
)

// protected says why a key cannot be changed through the API; empty: it can.
func protected(key string) string {
	if strings.HasPrefix(key, ownKeys) && !strings.HasPrefix(key, configKeys) {
		return "ALPS keeps " + ownKeys + " itself; only " + configKeys + " is for people"
	}
	return ""
}

func checkKeyName(key string) error {
	switch {
	case key == "":
		return mesh.Errorf(mesh.Invalid, "a key is missing")
	case len(key) > maxKey:
		return mesh.Errorf(mesh.Invalid, "the key has %d bytes, at most %d are taken", len(key), maxKey)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return mesh.Errorf(mesh.Invalid, "the key %q holds characters that cannot be shown", key)
	case key != strings.TrimSpace(key), strings.HasPrefix(key, "/"), strings.Contains(key, "//"):
		return mesh.Errorf(mesh.Invalid, "the key %q begins or ends with white space, begins with a slash, or has two in a row", key)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "." || part == ".." {
			return mesh.Errorf(mesh.Invalid, "the key %q has a part %q, which Consul does not take", key, part)
		}
	}
	return nil
}

type kvListIn struct {
	Prefix string `query:"prefix" maxLength:"1024" doc:"absent means the top"`
	DC     string `query:"dc" maxLength:"64" doc:"a datacenter; absent means the server's own"`
}

type kvListOut struct{ Body v1.KVList }

func (s *Server) listKeys(ctx context.Context, in *kvListIn) (*kvListOut, error) {
	list, err := s.KV.Keys(ctx, in.DC, in.Prefix)
	if err != nil {
		return nil, err
	}
	return &kvListOut{v1.KVList{Prefix: in.Prefix, Keys: full(list)}}, nil
}

type kvIn struct {
	Key string `query:"key" required:"true" maxLength:"1024"`
	DC  string `query:"dc" maxLength:"64" doc:"a datacenter; absent means the server's own"`
}

type kvOut struct{ Body v1.KVPair }

func (s *Server) getKey(ctx context.Context, in *kvIn) (*kvOut, error) {
	p, err := s.KV.Get(ctx, in.DC, in.Key)
	if err != nil {
		return nil, err
	}
	p.Value, p.Protected = full(p.Value), protected(p.Key)
	return &kvOut{p}, nil
}

type putKeyIn struct {
	Key  string `query:"key" required:"true" maxLength:"1024"`
	DC   string `query:"dc" maxLength:"64" doc:"a datacenter; absent means the server's own"`
	Body v1.KVWrite
}

func (s *Server) putKey(ctx context.Context, in *putKeyIn) (*kvOut, error) {
	about(ctx, in.Key, map[string]string{
		"dc": in.DC, "reason": in.Body.Reason, "bytes": strconv.Itoa(len(in.Body.Value)), "index": strconv.FormatUint(in.Body.Index, 10),
	})
	if err := checkKeyName(in.Key); err != nil {
		return nil, err
	}
	if why := protected(in.Key); why != "" {
		return nil, mesh.Errorf(mesh.Denied, "the key %q cannot be changed here: %s", in.Key, why)
	}
	if n := len(in.Body.Value); n > v1.MaxValue {
		return nil, mesh.Errorf(mesh.TooLarge, "the value has %d bytes; Consul keeps at most %d under one key", n, v1.MaxValue)
	}
	p, err := s.KV.Put(ctx, in.DC, in.Key, in.Body)
	if err != nil {
		return nil, changed(err, in.Key, in.Body.Index)
	}
	p.Value = full(p.Value)
	return &kvOut{p}, nil
}

type deleteKeyIn struct {
	Key   string `query:"key" required:"true" maxLength:"1024"`
	DC    string `query:"dc" maxLength:"64" doc:"a datacenter; absent means the server's own"`
	Index uint64 `query:"index" required:"true" minimum:"1" doc:"the index that was read"`
}

func (s *Server) deleteKey(ctx context.Context, in *deleteKeyIn) (*struct{}, error) {
	about(ctx, in.Key, map[string]string{"dc": in.DC, "index": strconv.FormatUint(in.Index, 10)})
	// Consul drops a slash in front: without this, "/alps/x" would name a key
	// that protected does not see.
	if err := checkKeyName(in.Key); err != nil {
		return nil, err
	}
	if why := protected(in.Key); why != "" {
		return nil, mesh.Errorf(mesh.Denied, "the key %q cannot be deleted here: %s", in.Key, why)
	}
	return nil, changed(s.KV.Delete(ctx, in.DC, in.Key, in.Index), in.Key, in.Index)
}

// changed says what a conflict over a key means to who read it at index.
func changed(err error, key string, index uint64) error {
	switch {
	case mesh.CodeOf(err) != mesh.Conflict:
		return err
	case index == 0:
		return mesh.Errorf(mesh.Conflict, "there is a key %q already; nothing was written", key).
			WithHint("read it, and decide with both values before you")
	}
	return mesh.Errorf(mesh.Conflict, "somebody else has changed or deleted %q meanwhile; yours was not done", key).
		WithHint("read it again, and decide with both values before you")
}
