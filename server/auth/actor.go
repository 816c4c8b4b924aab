package auth

import (
	"context"

	"alps/mesh"
	"alps/mesh/query"
)

// Actor is who stands behind a request. It is a value; nobody changes it once
// it is made.
type Actor struct {
	TokenID string
	Name    string // what audit records show.
	Role    Role
	// Scope limits which nodes the actor sees and reaches. A nil Scope
	// reaches none.
	Scope *query.Expr
	// From is the address that the request came from, without the port.
	From string
}

// Unlimited reports whether a reaches every node, also those that nobody
// knows yet.
func (a *Actor) Unlimited() bool { return a.Scope != nil && a.Scope.String() == ScopeAll }

// Reaches reports whether n lies in a's scope.
func (a *Actor) Reaches(n *mesh.Node) bool { return a.Scope != nil && a.Scope.Match(n) }

type actorKey struct{}

// NewContext returns a context that carries a.
func NewContext(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// FromContext returns the Actor that ctx carries, if any. The zero Actor may
// do nothing and reaches no node.
func FromContext(ctx context.Context) (Actor, bool) {
	a, ok := ctx.Value(actorKey{}).(Actor)
	return a, ok
}
