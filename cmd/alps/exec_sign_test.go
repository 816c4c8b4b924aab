package main

import (
	"encoding/json"
	"testing"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

// TestSameJob holds drafts of a server that cannot be trusted against what an
// operator has asked for.
func TestSameJob(t *testing.T) {
	script := []byte("#!/bin/sh\ntrue\n")
	tests := map[string]struct {
		change func(*mesh.Spec)
		same   bool
	}{
		"the job":                 {func(*mesh.Spec) {}, true},
		"another command":         {func(s *mesh.Spec) { s.Script, s.Command = nil, []string{"rm"} }, false},
		"another script":          {func(s *mesh.Spec) { s.Script.SHA256 = mesh.Digest([]byte("x")) }, false},
		"another argument":        {func(s *mesh.Spec) { s.Args = []string{"b"} }, false},
		"an argument more":        {func(s *mesh.Spec) { s.Args = append(s.Args, "b") }, false},
		"a variable more":         {func(s *mesh.Spec) { s.Env = map[string]string{"K": "v", "LD_PRELOAD": "x"} }, false},
		"another user":            {func(s *mesh.Spec) { s.RunAs = "root" }, false},
		"idempotent all at once":  {func(s *mesh.Spec) { s.Idempotent = true }, false},
		"runs longer":             {func(s *mesh.Spec) { s.Timeout = 3600 }, false},
		"expires later":           {func(s *mesh.Spec) { s.Expires = s.NotBefore + 86400 }, false},
		"its own grace, unasked":  {func(s *mesh.Spec) { s.Grace = 7 }, true},
		"expires with some slack": {func(s *mesh.Spec) { s.Expires += 60 }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			req := v1.JobRequest{
				Script: &v1.ScriptFile{Name: "s", Body: script}, Args: []string{"a"}, Env: map[string]string{"K": "v"},
				Timeout: 60, ExpiresIn: 600,
			}
			s := mesh.Spec{
				Script: &mesh.Script{Name: "s", SHA256: mesh.Digest(script), Size: len(script)}, Args: []string{"a"},
				Env: map[string]string{"K": "v"}, Timeout: 60, Grace: 10, NotBefore: 1000, Expires: 1600,
			}
			tt.change(&s)
			draft, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			err = sameJob(req, draft)
			if (err == nil) != tt.same || err != nil && mesh.CodeOf(err) != mesh.Denied {
				t.Errorf("sameJob() = %v, want the same job: %v", err, tt.same)
			}
		})
	}
	if err := sameJob(v1.JobRequest{Command: []string{"true"}}, []byte("{")); mesh.CodeOf(err) != mesh.Denied {
		t.Errorf("sameJob(garbage) = %v, want code %s", err, mesh.Denied)
	}
}
