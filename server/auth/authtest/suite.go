package authtest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/auth"
)

// Run proves that what open returns keeps the rules of auth.Store. open is
// called once for each rule and returns an empty store each time.
func Run(t *testing.T, open func(t *testing.T) auth.Store) {
	t.Helper()
	for _, r := range []struct {
		name string
		rule func(*testing.T, auth.Store)
	}{
		{"what is saved comes back", saved},
		{"an id is taken once", taken},
		{"the list begins with the newest", listed},
		{"what is deleted is gone", deleted},
		{"the last use only moves forward", touched},
		{"unknown ids are not found", unknown},
	} {
		t.Run(r.name, func(t *testing.T) { r.rule(t, open(t)) })
	}
}

var day = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)

func token(id string, created time.Time) auth.Token {
	return auth.Token{
		ID: id, SecretHash: strings.Repeat("ab", 32), Name: "ann's \"laptop\" 笔记本",
		Role: auth.Operator, Scope: `role=web and not name="x y"`, CreatedBy: "root", Created: created,
	}
}

func save(t *testing.T, s auth.Store, toks ...auth.Token) {
	t.Helper()
	for _, tok := range toks {
		if err := s.SaveToken(t.Context(), tok); err != nil {
			t.Fatalf("save token %s: %v", tok.ID, err)
		}
	}
}

func saved(t *testing.T, s auth.Store) {
	plain := token("00000001", day)
	full := token("00000002", day)
	full.Expires, full.LastUsed = day.Add(time.Hour), day.Add(time.Minute)
	save(t, s, plain, full)
	for _, want := range []auth.Token{plain, full} {
		got, err := s.TokenByID(t.Context(), want.ID)
		if err != nil {
			t.Fatalf("token %s: %v", want.ID, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("token %s changed (-want +got):\n%s", want.ID, diff)
		}
		if got.Created.Location() != time.UTC {
			t.Errorf("token %s: created in %v, want UTC", want.ID, got.Created.Location())
		}
	}
}

func taken(t *testing.T, s auth.Store) {
	first := token("00000001", day)
	save(t, s, first)
	second := first
	second.Name, second.Role = "thief", auth.Admin
	if code := mesh.CodeOf(s.SaveToken(t.Context(), second)); code != mesh.Conflict {
		t.Errorf("saving the same id again: got code %q, want %q", code, mesh.Conflict)
	}
	got, err := s.TokenByID(t.Context(), first.ID)
	if err != nil || got.Name != first.Name || got.Role != first.Role {
		t.Errorf("the first token became %+v, %v", got, err)
	}
}

func listed(t *testing.T, s auth.Store) {
	if toks, err := s.Tokens(t.Context()); err != nil || len(toks) != 0 {
		t.Fatalf("an empty store lists %v, %v", toks, err)
	}
	save(t, s, token("00000003", day), token("00000001", day.Add(-time.Hour)), token("00000002", day), token("00000004", day.Add(time.Hour)))
	toks, err := s.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tok := range toks {
		got = append(got, tok.ID)
	}
	if diff := cmp.Diff([]string{"00000004", "00000002", "00000003", "00000001"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func deleted(t *testing.T, s auth.Store) {
	save(t, s, token("00000001", day), token("00000002", day))
	if err := s.DeleteToken(t.Context(), "00000001"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TokenByID(t.Context(), "00000001"); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("a deleted token: got %v, want code %q", err, mesh.NotFound)
	}
	if _, err := s.TokenByID(t.Context(), "00000002"); err != nil {
		t.Errorf("the other token went as well: %v", err)
	}
}

func touched(t *testing.T, s auth.Store) {
	save(t, s, token("00000001", day))
	late, early := day.Add(time.Hour), day.Add(time.Minute)
	for _, at := range []time.Time{late, early, late} {
		if err := s.TouchToken(t.Context(), "00000001", at); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.TokenByID(t.Context(), "00000001")
	if err != nil || !got.LastUsed.Equal(late) {
		t.Errorf("last used %v, %v; want %v", got.LastUsed, err, late)
	}
}

func unknown(t *testing.T, s auth.Store) {
	save(t, s, token("00000001", day))
	_, byID := s.TokenByID(t.Context(), "00000009")
	for name, err := range map[string]error{
		"TokenByID":   byID,
		"DeleteToken": s.DeleteToken(t.Context(), "00000009"),
		"TouchToken":  s.TouchToken(t.Context(), "00000009", day),
	} {
		if code := mesh.CodeOf(err); code != mesh.NotFound {
			t.Errorf("%s of an unknown id: got code %q, want %q", name, code, mesh.NotFound)
		}
	}
}
