package consul

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// ACLEntry is a token or a policy, without what is secret.
type ACLEntry struct {
	ID          string // of a token its accessor.
	Name        string // of a token: of the auth method that made it, if any.
	Description string
	Policies    []string // names of those that a token has, by itself; nil for a policy.
	Local       bool     // a token of one datacenter.
}

// ACLTokens lists the tokens by description. enabled is false, without an
// error, when Consul has no access control switched on. A token of ours that
// may not list them is mesh.Denied.
func (c *Client) ACLTokens(ctx context.Context) (list []ACLEntry, enabled bool, err error) {
	return c.listACL(ctx, "list ACL tokens", func(o *api.QueryOptions) ([]ACLEntry, *api.QueryMeta, error) {
		tokens, m, err := c.api.ACL().TokenList(o)
		var list []ACLEntry
		for _, t := range tokens {
			e := ACLEntry{ID: t.AccessorID, Name: t.Name, Description: t.Description, Policies: []string{}, Local: t.Local}
			for _, p := range t.Policies {
				e.Policies = append(e.Policies, p.Name)
			}
			list = append(list, e)
		}
		return list, m, err
	})
}

// ACLPolicies lists the policies by name; otherwise it is as ACLTokens.
func (c *Client) ACLPolicies(ctx context.Context) (list []ACLEntry, enabled bool, err error) {
	return c.listACL(ctx, "list ACL policies", func(o *api.QueryOptions) ([]ACLEntry, *api.QueryMeta, error) {
		policies, m, err := c.api.ACL().PolicyList(o)
		var list []ACLEntry
		for _, p := range policies {
			list = append(list, ACLEntry{ID: p.ID, Name: p.Name, Description: p.Description})
		}
		return list, m, err
	})
}

func (c *Client) listACL(ctx context.Context, what string, call func(*api.QueryOptions) ([]ACLEntry, *api.QueryMeta, error)) ([]ACLEntry, bool, error) {
	enabled := true
	list, _, err := read(ctx, c, Query{}, what, func(o *api.QueryOptions) ([]ACLEntry, *api.QueryMeta, error) {
		list, m, err := call(o)
		if s, ok := errors.AsType[api.StatusError](err); ok && s.Code == http.StatusUnauthorized && strings.Contains(s.Body, "ACL support disabled") {
			enabled, err = false, nil
		}
		return list, m, err
	})
	slices.SortFunc(list, func(a, b ACLEntry) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Description, b.Description), cmp.Compare(a.ID, b.ID))
	})
	return list, enabled && err == nil, err
}
