package auth_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/server/auth"
	"alps/server/auth/authtest"
)

func TestMemory(t *testing.T) {
	authtest.Run(t, func(*testing.T) auth.Store { return &authtest.Memory{} })
}

func newTokens(t *testing.T) (*auth.Tokens, *authtest.Memory) {
	t.Helper()
	var store authtest.Memory
	toks, err := auth.New(auth.Options{Store: &store, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	return toks, &store
}

func create(t *testing.T, toks *auth.Tokens, r auth.Request) (auth.Token, string) {
	t.Helper()
	tok, text, err := toks.Create(t.Context(), r)
	if err != nil {
		t.Fatalf("create %+v: %v", r, err)
	}
	return tok, text
}

func TestNewNeedsItsParts(t *testing.T) {
	for name, o := range map[string]auth.Options{
		"no store":  {Logger: hclog.NewNullLogger()},
		"no logger": {Store: &authtest.Memory{}},
	} {
		if _, err := auth.New(o); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
}

func TestCreateRefusesNonsense(t *testing.T) {
	tests := []struct {
		name string
		r    auth.Request
		want string
	}{
		{"no name", auth.Request{Role: auth.Viewer}, "no name"},
		{"blank name", auth.Request{Name: " \t", Role: auth.Viewer}, "no name"},
		{"long name", auth.Request{Name: strings.Repeat("x", 65), Role: auth.Viewer}, "64"},
		{"control characters", auth.Request{Name: "a\x1b[31mb", Role: auth.Viewer}, "printable"},
		{"no role", auth.Request{Name: "ann"}, "unknown role"},
		{"unknown role", auth.Request{Name: "ann", Role: "root"}, `unknown role "root"`},
		{"broken scope", auth.Request{Name: "ann", Role: auth.Viewer, Scope: "role="}, "scope"},
		{"expired before it began", auth.Request{Name: "ann", Role: auth.Viewer, TTL: -time.Hour}, "expired"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			toks, _ := newTokens(t)
			_, text, err := toks.Create(t.Context(), tt.r)
			if mesh.CodeOf(err) != mesh.Invalid || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("got %v (code %q), want an invalid request that says %q", err, mesh.CodeOf(err), tt.want)
			}
			if text != "" {
				t.Error("a token came back all the same")
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	toks, store := newTokens(t)
	tok, text := create(t, toks, auth.Request{Name: "ann", Role: auth.Operator, Scope: "role=web"})
	_, other := create(t, toks, auth.Request{Name: "bob", Role: auth.Admin})

	got, err := toks.Authenticate(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	if got.TokenID != tok.ID || got.Name != "ann" || got.Role != auth.Operator || got.Unlimited() {
		t.Errorf("got %+v", got)
	}
	web := &mesh.Node{Name: "w1", Naming: mesh.Naming{Role: "web"}}
	db := &mesh.Node{Name: "d1", Naming: mesh.Naming{Role: "db"}}
	if !got.Reaches(web) || got.Reaches(db) {
		t.Errorf("reaches web %v, db %v; want web alone", got.Reaches(web), got.Reaches(db))
	}
	if all, err := toks.Authenticate(t.Context(), other); err != nil || !all.Unlimited() || !all.Reaches(db) {
		t.Errorf("a token without a scope: got %+v, %v; want every node", all, err)
	}

	stored, err := store.TokenByID(t.Context(), tok.ID)
	if err != nil || strings.Contains(fmt.Sprintf("%#v", stored), text[len(text)-43:]) {
		t.Errorf("the store holds the secret: %+v, %v", stored, err)
	}

	secretOf := func(s string) string { return s[strings.LastIndex(s, ".")+1:] }
	refused := map[string]string{
		"nothing":                  "",
		"no prefix":                strings.TrimPrefix(text, "alps."),
		"another's secret":         "alps." + tok.ID + "." + secretOf(other),
		"unknown id":               "alps.00000000." + secretOf(text),
		"cut short":                text[:len(text)-1],
		"one bit more":             text + "A",
		"upper-case id":            strings.ToUpper(text),
		"a line break in the tail": text[:20] + "\n" + text[20:],
	}
	for name, bad := range refused {
		_, err := toks.Authenticate(t.Context(), bad)
		if mesh.CodeOf(err) != mesh.Unauthorized {
			t.Errorf("%s: got %v, want unauthorized", name, err)
		}
		if err != nil && strings.Contains(err.Error(), secretOf(text)) {
			t.Errorf("%s: the error repeats the secret", name)
		}
	}
}

func TestAuthenticateWhenTheStoreIsAway(t *testing.T) {
	toks, store := newTokens(t)
	_, text := create(t, toks, auth.Request{Name: "ann", Role: auth.Viewer})
	store.Fail(mesh.Errorf(mesh.Unavailable, "disk full"))
	if _, err := toks.Authenticate(t.Context(), text); mesh.CodeOf(err) != mesh.Unavailable {
		t.Errorf("got %v, want unavailable: a good token must not be called bad", err)
	}
}

func TestTokensExpireAndAreDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toks, _ := newTokens(t)
		create(t, toks, auth.Request{Name: "root", Role: auth.Admin})
		_, short := create(t, toks, auth.Request{Name: "ann", Role: auth.Viewer, TTL: time.Hour})
		long, longText := create(t, toks, auth.Request{Name: "bob", Role: auth.Viewer})

		time.Sleep(time.Hour - time.Second)
		if _, err := toks.Authenticate(t.Context(), short); err != nil {
			t.Errorf("a second before its end: %v", err)
		}
		time.Sleep(time.Second)
		_, err := toks.Authenticate(t.Context(), short)
		if mesh.CodeOf(err) != mesh.Unauthorized || !strings.Contains(err.Error(), "expired") {
			t.Errorf("at its end: got %v, want unauthorized, expired", err)
		}

		if err := toks.Delete(t.Context(), long.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := toks.Authenticate(t.Context(), longText); mesh.CodeOf(err) != mesh.Unauthorized {
			t.Errorf("a deleted token: got %v, want unauthorized", err)
		}
		if err := toks.Delete(t.Context(), long.ID); mesh.CodeOf(err) != mesh.NotFound {
			t.Errorf("deleting it again: got %v, want not found", err)
		}
	})
}

func TestLastUseIsWrittenOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toks, store := newTokens(t)
		tok, text := create(t, toks, auth.Request{Name: "ann", Role: auth.Viewer})
		lastUsed := func() time.Time {
			t.Helper()
			got, err := store.TokenByID(t.Context(), tok.ID)
			if err != nil {
				t.Fatal(err)
			}
			return got.LastUsed
		}
		use := func() {
			t.Helper()
			if _, err := toks.Authenticate(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
		use()
		first := lastUsed()
		if first.IsZero() {
			t.Fatal("the first use is not recorded")
		}
		time.Sleep(59 * time.Second)
		use()
		if got := lastUsed(); !got.Equal(first) {
			t.Errorf("written again after 59 s: %v, then %v", first, got)
		}
		time.Sleep(time.Second)
		use()
		if got := lastUsed(); !got.Equal(first.Add(time.Minute)) {
			t.Errorf("after a minute: got %v, want %v", got, first.Add(time.Minute))
		}
	})
}

// readOnly is a store whose disk is full: it reads and refuses to write.
type readOnly struct{ *authtest.Memory }

func (readOnly) TouchToken(context.Context, string, time.Time) error { return errors.New("disk full") }

func TestAFullDiskKeepsNobodyOut(t *testing.T) {
	store := readOnly{&authtest.Memory{}}
	toks, err := auth.New(auth.Options{Store: store, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	_, text := create(t, toks, auth.Request{Name: "ann", Role: auth.Viewer})
	if _, err := toks.Authenticate(t.Context(), text); err != nil {
		t.Errorf("got %v, want to be let in", err)
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	toks, _ := newTokens(t)
	admin, _ := create(t, toks, auth.Request{Name: "root", Role: auth.Admin})
	create(t, toks, auth.Request{Name: "half", Role: auth.Admin, Scope: "role=web"})
	create(t, toks, auth.Request{Name: "op", Role: auth.Operator})
	if err := toks.Delete(t.Context(), admin.ID); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("deleting the last administrator: got %v, want conflict", err)
	}
	create(t, toks, auth.Request{Name: "second", Role: auth.Admin})
	if err := toks.Delete(t.Context(), admin.ID); err != nil {
		t.Errorf("with a second one: %v", err)
	}
}

func TestBootstrap(t *testing.T) {
	toks, store := newTokens(t)
	dir := t.TempDir()
	path, err := toks.Bootstrap(t.Context(), dir)
	if err != nil || path != filepath.Join(dir, auth.AdminFile) {
		t.Fatalf("got %q, %v", path, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	who, err := toks.Authenticate(t.Context(), strings.TrimSpace(string(text)))
	if err != nil || who.Role != auth.Admin || !who.Unlimited() {
		t.Errorf("the file's token is %+v, %v; want an administrator over every node", who, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left in the directory: %v, %v; want the token alone", left, err)
	}

	if again, err := toks.Bootstrap(t.Context(), dir); err != nil || again != "" {
		t.Errorf("the second start made %q, %v", again, err)
	}
	if all, err := store.Tokens(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d tokens, %v; want 1", len(all), err)
	}
}

func TestBootstrapIsTheWayBackIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toks, _ := newTokens(t)
		create(t, toks, auth.Request{Name: "root", Role: auth.Admin, TTL: time.Hour})
		create(t, toks, auth.Request{Name: "half", Role: auth.Admin, Scope: "role=web"})
		dir := t.TempDir()
		if path, err := toks.Bootstrap(t.Context(), dir); err != nil || path != "" {
			t.Errorf("while an administrator is there: %q, %v", path, err)
		}
		time.Sleep(time.Hour)
		if path, err := toks.Bootstrap(t.Context(), dir); err != nil || path == "" {
			t.Errorf("after the last one expired: %q, %v; want a token", path, err)
		}
	})
}

func TestBootstrapSavesNothingItCannotHandOver(t *testing.T) {
	toks, store := newTokens(t)
	if _, err := toks.Bootstrap(t.Context(), filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Fatal("it wrote into a directory that is not there")
	}
	if all, err := store.Tokens(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("an administrator whose token nobody has: %v, %v", all, err)
	}
}

func TestRoles(t *testing.T) {
	order := auth.Roles()
	for i, have := range order {
		for j, need := range order {
			if got, want := have.Covers(need), i >= j; got != want {
				t.Errorf("%s covers %s: got %v, want %v", have, need, got, want)
			}
		}
	}
	for _, none := range []auth.Role{"", "root"} {
		for _, need := range append(order, "", "root") {
			if none.Covers(need) {
				t.Errorf("role %q covers %q", none, need)
			}
		}
	}
}

func TestActorTravelsInTheContext(t *testing.T) {
	if who, ok := auth.FromContext(t.Context()); ok || who.Unlimited() || who.Reaches(&mesh.Node{Name: "x"}) {
		t.Errorf("an empty context carries %+v", who)
	}
	want := auth.Actor{TokenID: "1", Name: "ann", Role: auth.Viewer, From: "127.0.0.1"}
	if got, ok := auth.FromContext(auth.NewContext(t.Context(), want)); !ok || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestManyAtOnce(t *testing.T) {
	toks, _ := newTokens(t)
	_, text := create(t, toks, auth.Request{Name: "ann", Role: auth.Viewer})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := toks.Authenticate(t.Context(), text); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
