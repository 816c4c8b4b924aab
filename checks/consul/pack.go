package consul

import (
	"context"
	_ "embed" // pack.hcl is part of the binary.
	"errors"
	"fmt"
	"slices"
	"strings"

	"alps/checks"
	"alps/mesh"
	"alps/mesh/nodeset"
)

//go:embed pack.hcl
var definitions string

// Asker asks the local Consul agent. It may be asked from several goroutines at
// once, and returns when ctx ends.
type Asker interface {
	// Leader returns the address of the leader, "" when there is none.
	Leader(ctx context.Context) (string, error)
	// Peers returns the addresses of the servers that vote.
	Peers(ctx context.Context) ([]string, error)
	// Members returns what the gossip of the datacenter knows.
	Members(ctx context.Context) ([]mesh.Member, error)
}

// Options say whom to ask.
type Options struct {
	Consul Asker
	// Node is the name of this node in Consul.
	Node mesh.NodeName
}

// New makes the pack. It asks nothing yet.
func New(o Options) (checks.Pack, error) {
	if o.Consul == nil || o.Node == "" {
		return checks.Pack{}, errors.New("make pack consul: it needs Consul and the name of the node")
	}
	p, err := checks.NewPack("consul", definitions, map[string]checks.Probe{
		"leader":  checks.ProbeFunc(o.leader),
		"peers":   checks.ProbeFunc(o.peers),
		"members": checks.ProbeFunc(o.members),
	})
	p.Applies = o.isServer
	return p, err
}

// isServer reports whether a Consul server runs on this node.
func (o Options) isServer(ctx context.Context) (bool, error) {
	members, err := o.Consul.Members(ctx)
	if err != nil {
		return false, fmt.Errorf("ask Consul whether this node is a server: %w", err)
	}
	return slices.ContainsFunc(members, func(m mesh.Member) bool { return m.Name == o.Node && m.Type == server }), nil
}

// server is the Type of a member that is a Consul server.
const server = "server"

func (o Options) leader(ctx context.Context, s *checks.Settings) checks.Result {
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	leader, err := o.Consul.Leader(ctx)
	switch {
	case err != nil:
		return unasked("leader", err)
	case leader == "":
		return checks.Result{Status: mesh.HealthCritical, Output: "Consul has no leader"}
	}
	// Not who: an election that went well is no news.
	return checks.Result{Status: mesh.HealthPassing, Output: "Consul has a leader"}
}

func (o Options) peers(ctx context.Context, s *checks.Settings) checks.Result {
	spare := s.Number("spare")
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	peers, err := o.Consul.Peers(ctx)
	if err != nil {
		return unasked("servers", err)
	}
	members, err := o.Consul.Members(ctx)
	if err != nil {
		return unasked("members", err)
	}
	alive := 0
	for _, m := range members {
		if m.Type == server && m.Status == mesh.MemberAlive {
			alive++
		}
	}
	return judge(len(peers), min(alive, len(peers)), spare)
}

// judge says how far a set of servers is from losing its quorum.
func judge(voters, alive int, spare float64) checks.Result {
	quorum := voters/2 + 1
	r := checks.Result{Status: mesh.HealthPassing, Samples: []mesh.Sample{
		{Name: "voters", Value: float64(voters)},
		{Name: "alive", Value: float64(alive)},
		{Name: "quorum", Value: float64(quorum)},
	}}
	state := fmt.Sprintf("%d of %d servers live, %d are needed", alive, voters, quorum)
	switch {
	case voters == 0:
		return checks.Unknown("Consul names no servers")
	case alive < quorum:
		r.Status, r.Output = mesh.HealthCritical, "the quorum is lost: "+state
	case voters >= 3 && float64(alive-quorum) < spare:
		r.Status, r.Output = mesh.HealthWarning, "too few servers may fail: "+state
	default:
		r.Output = state
	}
	return r
}

func (o Options) members(ctx context.Context, s *checks.Settings) checks.Result {
	warn, critical := s.Number("warn"), s.Number("critical")
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	members, err := o.Consul.Members(ctx)
	if err != nil {
		return unasked("members", err)
	}
	var failed []string
	for _, m := range members {
		if m.Status == mesh.MemberFailed {
			failed = append(failed, string(m.Name))
		}
	}
	n := float64(len(failed))
	r := checks.Result{Status: mesh.HealthPassing, Output: "no member has failed", Samples: []mesh.Sample{
		{Name: "members", Value: float64(len(members))},
		{Name: "failed", Value: n, Warn: checks.Bound(warn), Crit: checks.Bound(critical)},
	}}
	if n == 0 {
		return r
	}
	switch {
	case n >= critical:
		r.Status = mesh.HealthCritical
	case n >= warn:
		r.Status = mesh.HealthWarning
	}
	r.Output = clip("failed: " + nodeset.Fold(failed))
	return r
}

// maxNames is how much of a list of names fits a glance.
const maxNames = 1000

func clip(s string) string {
	if len(s) <= maxNames {
		return s
	}
	return strings.ToValidUTF8(s[:maxNames], "") + "…"
}

// unasked is the result when Consul does not answer. The asker failed, so
// nothing is known of what was asked. Addresses and times in errors change, so
// the text keeps to the code.
func unasked(what string, err error) checks.Result {
	why := "it failed"
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		why = "it took too long"
	case mesh.CodeOf(err) != mesh.Internal:
		why = string(mesh.CodeOf(err))
	}
	return checks.Unknown("ask Consul for its %s: %s", what, why)
}
