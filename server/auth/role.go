package auth

import "fmt"

// Role is how much a token may do. A role may do all that a lower one may.
// The zero Role may do nothing.
type Role string

// The roles, from the lowest.
const (
	Viewer   Role = "viewer"   // reads.
	Operator Role = "operator" // submits and steers jobs as well.
	Admin    Role = "admin"    // manages tokens and nodes as well.
)

// ScopeAll is the scope that reaches every node.
const ScopeAll = "all"

// Roles lists every Role from the lowest.
func Roles() []Role { return []Role{Viewer, Operator, Admin} }

// ParseRole returns the Role that s names.
func ParseRole(s string) (Role, error) {
	for _, r := range Roles() {
		if string(r) == s {
			return r, nil
		}
	}
	return "", fmt.Errorf("unknown role %q: it is viewer, operator or admin", s)
}

// Covers reports whether r may do what needs the role need.
func (r Role) Covers(need Role) bool { return r.rank() >= need.rank() && r.rank() > 0 }

func (r Role) rank() int {
	for i, known := range Roles() {
		if r == known {
			return i + 1
		}
	}
	return 0
}
