package api

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/query"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

const (
	checksPage = 1000
	// askAtOnce is how many agents are asked at the same time to run a check:
	// one that is slow to answer keeps the others waiting for no longer than
	// itself.
	askAtOnce = 32
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
	for c := range s.Checks.Checks(ctx) {
		switch {
		case in.Check != "" && in.Check != c.Result.Check && in.Check != c.Result.Name:
		case in.Status != "" && in.Status != c.Status:
		case !see(c.DC, c.Node):
		default:
			all = append(all, c)
		}
	}
	after, err := parseCheckKey(in.After)
	if err != nil {
		return nil, err
	}
	return &checksOut{checkPage(all, after, orDefault(in.Limit, checksPage))}, nil
}

// checkKey is where a check stands in the list. The zero checkKey stands
// before all.
type checkKey struct {
	dc    string
	node  mesh.NodeName
	check string
}

func keyOf(c *mesh.CheckState) checkKey { return checkKey{c.DC, c.Node, c.Result.Check} }

func (k checkKey) compare(other checkKey) int {
	return cmp.Or(cmp.Compare(k.dc, other.dc), cmp.Compare(k.node, other.node), cmp.Compare(k.check, other.check))
}

// String is the cursor after the check: its parts escaped and joined, so that
// a script can carry it whatever a node or a check is called.
func (k checkKey) String() string {
	return url.PathEscape(k.dc) + "/" + url.PathEscape(string(k.node)) + "/" + url.PathEscape(k.check)
}

func parseCheckKey(text string) (checkKey, error) {
	if text == "" {
		return checkKey{}, nil
	}
	parts := strings.Split(text, "/")
	for i := range parts {
		plain, err := url.PathUnescape(parts[i])
		if err != nil || len(parts) != 3 {
			return checkKey{}, mesh.Errorf(mesh.Invalid, "there is no place %q in a list of checks", text).
				WithHint("after is the next of the page before, as it came")
		}
		parts[i] = plain
	}
	return checkKey{parts[0], mesh.NodeName(parts[1]), parts[2]}, nil
}

// checkPage cuts the page after a place out of all, which it sorts. The place
// need not be taken any more.
func checkPage(all []mesh.CheckState, after checkKey, limit int) v1.CheckList {
	slices.SortFunc(all, func(a, b mesh.CheckState) int { return keyOf(&a).compare(keyOf(&b)) })
	out := v1.CheckList{Total: len(all)}
	from := 0
	if after != (checkKey{}) {
		var taken bool
		from, taken = slices.BinarySearchFunc(all, after, func(c mesh.CheckState, k checkKey) int { return keyOf(&c).compare(k) })
		if taken {
			from++
		}
	}
	page := all[from:]
	if len(page) > limit {
		page = page[:limit]
		out.Next = keyOf(&page[limit-1]).String()
	}
	out.Checks = full(page)
	return out
}

func (s *Server) nodeChecks(ctx context.Context, in *nodeIn) (*checksOut, error) {
	n, err := s.node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	list := s.Checks.OfNode(ctx, n.DC, n.Name)
	return &checksOut{checkPage(list, checkKey{}, max(len(list), 1))}, nil
}

type runCheckIn struct{ Body v1.RunCheckRequest }

type runCheckOut struct{ Body v1.RunCheckAnswer }

// runCheck asks every node that has the check, and that the caller may act on,
// to run it now. It does not wait for the results.
func (s *Server) runCheck(ctx context.Context, in *runCheckIn) (*runCheckOut, error) {
	about(ctx, in.Body.Check, map[string]string{"target": in.Body.Target})
	expr, err := asked(in.Body.Target)
	if err != nil {
		return nil, err
	}
	nodes, err := s.visible(ctx, expr)
	if err != nil {
		return nil, err
	}
	wanted := map[mesh.NodeID][]string{}
	names := map[mesh.NodeID]mesh.NodeName{}
	out := v1.RunCheckAnswer{Asked: []mesh.NodeName{}, Missed: map[string]string{}, Since: time.Now().UTC()}
	for c := range s.Checks.Checks(ctx) {
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
	for id, err := range s.askAll(ctx, wanted) {
		if err != nil {
			out.Missed[string(names[id])] = s.told(ctx, err)
			continue
		}
		out.Asked = append(out.Asked, names[id])
	}
	slices.Sort(out.Asked)
	return &runCheckOut{out}, nil
}

// told is what a caller hears of an error that does not fail the call.
func (s *Server) told(ctx context.Context, err error) string {
	if mesh.CodeOf(err) != mesh.Internal {
		return err.Error()
	}
	c := callFrom(ctx)
	s.log.Error("a part of a request met a fault", "request", c.id, "path", c.path, "error", err)
	return "a fault in the server; its log has the details under request=" + c.id
}

// askAll asks nodes to run checks, and returns what each has answered.
func (s *Server) askAll(ctx context.Context, wanted map[mesh.NodeID][]string) map[mesh.NodeID]error {
	answers := make(map[mesh.NodeID]error, len(wanted))
	var (
		mu   sync.Mutex
		all  sync.WaitGroup
		slot = make(chan struct{}, askAtOnce)
	)
	for id, checks := range wanted {
		slot <- struct{}{}
		all.Go(func() {
			defer func() { <-slot }()
			err := s.Checks.RunNow(ctx, id, checks)
			mu.Lock()
			defer mu.Unlock()
			answers[id] = err
		})
	}
	all.Wait()
	return answers
}

// scoped reports whether the caller may see what is about a node; what is
// about none is for callers without a scope.
func scoped(who auth.Actor, see lookout, dc string, node mesh.NodeName) bool {
	if node == "" {
		return who.Unlimited()
	}
	return see(dc, node)
}
