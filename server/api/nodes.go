package api

import (
	"context"
	"strings"

	"alps/mesh"
	"alps/mesh/query"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

const nodesPage = 1000

type statusOut struct{ Body v1.Status }

func (s *Server) getStatus(ctx context.Context, _ *struct{}) (*statusOut, error) {
	out := &statusOut{v1.Status{Version: s.Version, Cluster: s.Cluster}}
	if _, known := auth.FromContext(ctx); !known {
		return out, nil
	}
	detail, err := s.Status.Status(ctx)
	if err != nil {
		return nil, err
	}
	out.Body.Detail = &detail
	return out, nil
}

type membersOut struct{ Body v1.MemberList }

func (s *Server) listMembers(ctx context.Context, _ *struct{}) (*membersOut, error) {
	list, err := s.Inventory.Members(ctx)
	if err != nil {
		return nil, err
	}
	if who := callFrom(ctx).actor; !who.Unlimited() {
		if list.Members, err = s.reached(ctx, who, list.Members); err != nil {
			return nil, err
		}
	}
	list.Members = full(list.Members)
	return &membersOut{list}, nil
}

// reached keeps the members that are nodes of who's scope.
func (s *Server) reached(ctx context.Context, who auth.Actor, members []mesh.Member) ([]mesh.Member, error) {
	list, err := s.Inventory.Nodes(ctx, who.Scope, "", 0)
	if err != nil {
		return nil, err
	}
	type place struct {
		dc   string
		name mesh.NodeName
	}
	in := make(map[place]bool, len(list.Nodes))
	for i := range list.Nodes {
		in[place{list.Nodes[i].DC, list.Nodes[i].Name}] = true
	}
	var out []mesh.Member
	for _, m := range members {
		if in[place{m.DC, m.Name}] {
			out = append(out, m)
		}
	}
	return out, nil
}

type nodesIn struct {
	Query string `query:"q" maxLength:"4096" doc:"a query over nodes; empty means all"`
	After string `query:"after" doc:"the next of the page before"`
	Limit int    `query:"limit" minimum:"0" maximum:"10000" doc:"0 means 1000"`
}

type nodesOut struct{ Body v1.NodeList }

func (s *Server) listNodes(ctx context.Context, in *nodesIn) (*nodesOut, error) {
	expr := callFrom(ctx).actor.Scope
	if strings.TrimSpace(in.Query) != "" {
		asked, err := query.Parse(in.Query)
		if err != nil {
			return nil, mesh.Errorf(mesh.Invalid, "read the query: %w", err)
		}
		expr = query.And(expr, asked)
	}
	list, err := s.Inventory.Nodes(ctx, expr, in.After, orDefault(in.Limit, nodesPage))
	if err != nil {
		return nil, err
	}
	list.Nodes = full(list.Nodes)
	return &nodesOut{list}, nil
}

type nodeIn struct {
	Name string `path:"name" doc:"a node's name or its id"`
}

type nodeOut struct{ Body mesh.Node }

func (s *Server) getNode(ctx context.Context, in *nodeIn) (*nodeOut, error) {
	n, err := s.node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &nodeOut{n}, nil
}

// node finds a node that the caller may see. One outside the scope is not
// found, in the same words as one that does not exist.
func (s *Server) node(ctx context.Context, nameOrID string) (mesh.Node, error) {
	who := callFrom(ctx).actor
	n, err := s.Inventory.Node(ctx, nameOrID)
	if err != nil && mesh.CodeOf(err) != mesh.NotFound {
		return mesh.Node{}, err
	}
	if err != nil || !who.Reaches(&n) {
		return mesh.Node{}, mesh.Errorf(mesh.NotFound, "there is no node %q", nameOrID).
			WithHint("`alps node list` shows the nodes")
	}
	return n, nil
}

type revokeIn struct {
	Name string `path:"name" doc:"a node's name or its id"`
	Body v1.RevokeRequest
}

func (s *Server) revokeNode(ctx context.Context, in *revokeIn) (*struct{}, error) {
	n, err := s.node(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	about(ctx, string(n.Name), map[string]string{"node": string(n.ID), "reason": in.Body.Reason})
	if n.ID == "" {
		return nil, mesh.Errorf(mesh.NotFound, "revoke %s: no ALPS agent has enrolled on it", n.Name)
	}
	return nil, s.Enrolment.Revoke(ctx, n.ID, callFrom(ctx).actor.Name, in.Body.Reason)
}

// full returns s, or an empty list where it is nil: [] in JSON, not null.
func full[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func orDefault(n, standard int) int {
	if n == 0 {
		return standard
	}
	return n
}
