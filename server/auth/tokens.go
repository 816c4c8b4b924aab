package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/query"
)

// touchEvery is how coarse LastUsed is: a busy token costs one write a
// minute, not one a request.
const touchEvery = time.Minute

// maxName keeps a token's name readable in a table.
const maxName = 64

// Options are what Tokens needs. Both are required.
type Options struct {
	Store  Store
	Logger hclog.Logger
}

// Tokens makes, checks and ends API tokens. Its methods may be called from
// any goroutine. Nothing is cached: a deleted token is refused by the next
// request, on every server that shares the Store.
type Tokens struct {
	store Store
	log   hclog.Logger

	mu      sync.Mutex
	touched map[string]time.Time // when this server last wrote LastUsed.
}

// New returns Tokens over o.Store.
func New(o Options) (*Tokens, error) {
	if o.Store == nil || o.Logger == nil {
		return nil, errors.New("auth: a store and a logger are required")
	}
	return &Tokens{store: o.Store, log: o.Logger, touched: map[string]time.Time{}}, nil
}

// Request says what token to make.
type Request struct {
	Name string
	Role Role
	// Scope is a query over nodes; empty means ScopeAll.
	Scope string
	// TTL is how long it is good for; zero means for ever.
	TTL       time.Duration
	CreatedBy string
}

// Create makes a token and returns it with its text, which is shown this once
// and kept nowhere. A request that makes no sense is mesh.Invalid.
func (t *Tokens) Create(ctx context.Context, r Request) (Token, string, error) {
	tok, err := r.token(time.Now())
	if err != nil {
		return Token{}, "", err
	}
	// Ids are short, to be typed; two of four billion may meet.
	for range 3 {
		id, s, text := mint()
		tok.ID, tok.SecretHash = id, s.hash()
		err = t.store.SaveToken(ctx, tok)
		if err == nil {
			return tok, text, nil
		}
		if mesh.CodeOf(err) != mesh.Conflict {
			break
		}
	}
	return Token{}, "", fmt.Errorf("create token %q: %w", r.Name, err)
}

func (r *Request) token(now time.Time) (Token, error) {
	name := strings.TrimSpace(r.Name)
	switch {
	case name == "":
		return Token{}, mesh.Errorf(mesh.Invalid, "create token: it has no name").
			WithHint("say whose it is or what it is for; audit records show the name")
	case len(name) > maxName || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		return Token{}, mesh.Errorf(mesh.Invalid, "create token: the name must be at most %d printable characters", maxName)
	case r.TTL < 0:
		return Token{}, mesh.Errorf(mesh.Invalid, "create token %q: it would have expired %s ago", name, -r.TTL)
	}
	role, err := ParseRole(string(r.Role))
	if err != nil {
		return Token{}, mesh.Errorf(mesh.Invalid, "create token %q: %w", name, err)
	}
	expr, err := query.Parse(orAll(r.Scope))
	if err != nil {
		return Token{}, mesh.Errorf(mesh.Invalid, "create token %q: read its scope: %w", name, err).
			WithHint("a scope is a query over nodes, as in role=web, or %s", ScopeAll)
	}
	tok := Token{
		Name: name, Role: role, Scope: expr.String(), CreatedBy: r.CreatedBy,
		Created: now.UTC().Truncate(time.Millisecond),
	}
	if r.TTL > 0 {
		tok.Expires = tok.Created.Add(r.TTL)
	}
	return tok, nil
}

func orAll(scope string) string {
	if strings.TrimSpace(scope) == "" {
		return ScopeAll
	}
	return scope
}

// List returns every token, the newest first.
func (t *Tokens) List(ctx context.Context) ([]Token, error) {
	toks, err := t.store.Tokens(ctx)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return toks, nil
}

// Delete ends a token at once. The last administrator over every node stays:
// deleting it is mesh.Conflict.
func (t *Tokens) Delete(ctx context.Context, id string) error {
	toks, err := t.store.Tokens(ctx)
	if err != nil {
		return fmt.Errorf("delete token %s: %w", id, err)
	}
	var target *Token
	others, now := 0, time.Now()
	for i := range toks {
		switch {
		case toks[i].ID == id:
			target = &toks[i]
		case governs(&toks[i], now):
			others++
		}
	}
	switch {
	case target == nil:
		return mesh.Errorf(mesh.NotFound, "delete token %s: there is no such token", id).
			WithHint("`alps token list` shows the tokens")
	case others == 0 && governs(target, now):
		return mesh.Errorf(mesh.Conflict, "delete token %s: it is the last administrator", id).
			WithHint("make another first: `alps token create --role admin NAME`")
	}
	if err := t.store.DeleteToken(ctx, id); err != nil {
		return fmt.Errorf("delete token %s: %w", id, err)
	}
	t.mu.Lock()
	delete(t.touched, id)
	t.mu.Unlock()
	return nil
}

// governs reports whether tok can manage the whole estate at now.
func governs(tok *Token, now time.Time) bool {
	return tok.Role == Admin && tok.Unlimited() && !tok.Expired(now)
}

// Authenticate says who holds the token with this text. A text that is
// malformed, unknown, or past its end is mesh.Unauthorized; when the store is
// away the store's error comes back, and nobody is let in.
func (t *Tokens) Authenticate(ctx context.Context, text string) (Actor, error) {
	id, s, err := parseText(text)
	if err != nil {
		return Actor{}, mesh.Errorf(mesh.Unauthorized, "the token is malformed: %w", err).
			WithHint("a token looks like alps.<8 digits>.<43 characters>; check ALPS_TOKEN")
	}
	tok, err := t.store.TokenByID(ctx, id)
	if err != nil && mesh.CodeOf(err) != mesh.NotFound {
		return Actor{}, fmt.Errorf("look up token %s: %w", id, err)
	}
	// An unknown id goes through the same comparison as a known one.
	if !s.matches(tok.SecretHash) || err != nil {
		return Actor{}, mesh.Errorf(mesh.Unauthorized, "the token %s is not valid", id).
			WithHint("it was deleted, or belongs to another cluster; an administrator can make one: `alps token create`")
	}
	now := time.Now()
	if tok.Expired(now) {
		return Actor{}, mesh.Errorf(mesh.Unauthorized, "the token %s (%s) expired at %s", id, tok.Name, tok.Expires.Format(time.RFC3339)).
			WithHint("an administrator can make another: `alps token create`")
	}
	scope, err := query.Parse(tok.Scope)
	if err != nil {
		return Actor{}, fmt.Errorf("read the scope of token %s: %w", id, err)
	}
	t.touch(ctx, &tok, now)
	return Actor{TokenID: tok.ID, Name: tok.Name, Role: tok.Role, Scope: scope}, nil
}

// touch notes that tok was used. A store that cannot write now must not keep
// people from looking, so a failure is said and not returned.
func (t *Tokens) touch(ctx context.Context, tok *Token, now time.Time) {
	t.mu.Lock()
	last := t.touched[tok.ID]
	if tok.LastUsed.After(last) {
		last = tok.LastUsed
	}
	due := now.Sub(last) >= touchEvery
	if due {
		t.touched[tok.ID] = now
	}
	t.mu.Unlock()
	if !due {
		return
	}
	if err := t.store.TouchToken(ctx, tok.ID, now.UTC().Truncate(time.Millisecond)); err != nil {
		t.log.Warn("the last use of a token is not recorded", "token", tok.ID, "error", err)
	}
}
