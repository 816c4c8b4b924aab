package api

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/query"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

const (
	checksPage = 1000
	maxChecks  = 10_000
)

// lookout says of a node by its place whether the caller may see it.
type lookout func(dc string, name mesh.NodeName) bool

// sees returns what the caller may see, and of that what expr matches; a nil
// expr is all. Nodes that the inventory does not know are seen by callers
// without a scope who ask for all.
func (s *Server) sees(ctx context.Context, expr *query.Expr) (lookout, error) {
	who := callFrom(ctx).actor
	if who.Unlimited() && expr == nil {
		return func(string, mesh.NodeName) bool { return true }, nil
	}
	in, err := s.visible(ctx, expr)
	if err != nil {
		return nil, err
	}
	return func(dc string, name mesh.NodeName) bool { return in[place{dc, name}] != nil }, nil
}

type place struct {
	dc   string
	name mesh.NodeName
}

// visible returns the nodes that the caller may see and expr matches, by place.
func (s *Server) visible(ctx context.Context, expr *query.Expr) (map[place]*mesh.Node, error) {
	scope := callFrom(ctx).actor.Scope
	if expr != nil {
		scope = query.And(scope, expr)
	}
	list, err := s.Inventory.Nodes(ctx, scope, "", 0)
	if err != nil {
		return nil, err
	}
	in := make(map[place]*mesh.Node, len(list.Nodes))
	for i := range list.Nodes {
		in[place{list.Nodes[i].DC, list.Nodes[i].Name}] = &list.Nodes[i]
	}
	return in, nil
}

// asked parses what a caller asks for; nil when that is everything.
func asked(text string) (*query.Expr, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil //nolint:nilnil // nil is the expression for all.
	}
	expr, err := query.Parse(text)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the query: %w", err)
	}
	return expr, nil
}

type checksIn struct {
	Query  string      `query:"q" maxLength:"4096" doc:"a query over nodes; empty means all"`
	Check  string      `query:"check" maxLength:"256" doc:"id or name; empty means all"`
	Status mesh.Health `query:"status" enum:"passing,warning,critical,unknown" doc:"absent means all"`
	After  string      `query:"after" doc:"the next of the page before"`
	Limit  int         `query:"limit" minimum:"0" maximum:"10000" doc:"0 means 1000"`
}

type checksOut struct{ Body v1.CheckList }

func (s *Server) listChecks(ctx context.Context, in *checksIn) (*checksOut, error) {
	expr, err := asked(in.Query)
	if err != nil {
		return nil, err
	}
	see, err := s.sees(ctx, expr)
	if err != nil {
		return nil, err
	}
	var all []mesh.CheckState
	for _, c := range s.Checks.Checks(ctx) {
		switch {
		case in.Check != "" && in.Check != c.Result.Check && in.Check != c.Result.Name:
		case in.Status != "" && in.Status != c.Status:
		case !see(c.DC, c.Node):
		default:
			all = append(all, c)
		}
	}
	return &checksOut{checkPage(all, in.After, orDefault(in.Limit, checksPage))}, nil
}

// checkPage cuts one page out of all, which it sorts.
func checkPage(all []mesh.CheckState, after string, limit int) v1.CheckList {
	slices.SortFunc(all, func(a, b mesh.CheckState) int {
		return cmp.Or(cmp.Compare(a.DC, b.DC), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Result.Check, b.Result.Check))
	})
	out := v1.CheckList{Total: len(all)}
	from := 0
	if after != "" {
		from, _ = slices.BinarySearchFunc(all, after, func(c mesh.CheckState, key string) int {
			if checkKey(c) == key {
				return -1
			}
			return cmp.Compare(checkKey(c), key)
		})
	}
	page := all[min(from, len(all)):]
	if len(page) > limit {
		page = page[:limit]
		out.Next = checkKey(page[limit-1])
	}
	out.Checks = full(page)
	return out
}

// checkKey orders as checkPage sorts: no name holds what parts them.
func checkKey(c mesh.CheckState) string {
	return c.DC + "\x00" + string(c.Node) + "\x00" + c.Result.Check
}

func (s *Server) nodeChecks(ctx context.Context, in *nodeIn) (*checksOut, error) {
	n, err := s.node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	var list []mesh.CheckState
	for _, c := range s.Checks.Checks(ctx) {
		if c.DC == n.DC && c.Node == n.Name {
			list = append(list, c)
		}
	}
	return &checksOut{checkPage(list, "", maxChecks)}, nil
}

type runCheckIn struct{ Body v1.RunCheckRequest }

type runCheckOut struct{ Body v1.RunCheckAnswer }

// runCheck asks every node that has the check, and that the caller may act on,
// to run it now. It does not wait for the results.
func (s *Server) runCheck(ctx context.Context, in *runCheckIn) (*runCheckOut, error) {
	expr, err := asked(in.Body.Target)
	if err != nil {
		return nil, err
	}
	about(ctx, in.Body.Check, map[string]string{"target": in.Body.Target})
	nodes, err := s.visible(ctx, expr)
	if err != nil {
		return nil, err
	}
	wanted := map[mesh.NodeID][]string{}
	names := map[mesh.NodeID]mesh.NodeName{}
	out := v1.RunCheckAnswer{Asked: []mesh.NodeName{}, Missed: map[string]string{}, Since: time.Now().UTC()}
	for _, c := range s.Checks.Checks(ctx) {
		n := nodes[place{c.DC, c.Node}]
		if n == nil || in.Body.Check != c.Result.Check && in.Body.Check != c.Result.Name {
			continue
		}
		if n.ID == "" || c.NodeID == "" {
			out.Missed[string(n.Name)] = "ALPS does not run this check there"
			continue
		}
		wanted[n.ID], names[n.ID] = append(wanted[n.ID], c.Result.Check), n.Name
	}
	if len(wanted)+len(out.Missed) == 0 {
		return nil, mesh.Errorf(mesh.NotFound, "no node has a check %q", in.Body.Check).WithHint("alps check list")
	}
	for id, checks := range wanted {
		if err := s.Checks.RunNow(ctx, id, checks); err != nil {
			out.Missed[string(names[id])] = err.Error()
			continue
		}
		out.Asked = append(out.Asked, names[id])
	}
	slices.Sort(out.Asked)
	return &runCheckOut{out}, nil
}

// scoped reports whether the caller may see what is about a node; what is
// about none is for callers without a scope.
func scoped(who auth.Actor, see lookout, dc string, node mesh.NodeName) bool {
	if node == "" {
		return who.Unlimited()
	}
	return see(dc, node)
}
