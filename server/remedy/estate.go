package remedy

import (
	"fmt"
	"time"

	"alps/mesh"
)

// What people declare of a node, and policies look at.
const (
	attrLossTolerant = "loss_tolerant" // "true": availability comes before the data on it.
	attrMaintenance  = "maintenance"   // "true", or who works on it and why.
)

// declared fills in what people have said about the node and the time.
func (e *Engine) declared(c *Case, p *policy) {
	c.Loses = p.loses
	for i, w := range p.windows {
		if w.Holds(c.Now.Local()) {
			c.Maintained = "it is the time for it: " + p.Maintenance[i]
		}
	}
	if c.Node == nil {
		return
	}
	c.LossTolerant = e.o.Attribute(c.Node, attrLossTolerant) == "true"
	switch v := e.o.Attribute(c.Node, attrMaintenance); v {
	case "", "false":
	case "true":
		c.Maintained = "the node is declared to be under maintenance"
	default:
		c.Maintained = "the node is declared to be under maintenance: " + v
	}
}

// remember fills in what the policy has come to about the incident.
func (c *Case) remember(said *word) {
	if r := said.turned; r != nil && r.Reopened == c.Incident.Reopened {
		c.Turned = &r.RemedyRun
	}
	if r := said.settled; r != nil && r.Reopened == c.Incident.Reopened {
		c.Settled = &r.RemedyRun
	}
}

// countEvery is how long a count of the nodes is good: to count the largest
// estate takes milliseconds, and it is asked for with every change of a check.
const countEvery = time.Second

// A census is how many nodes there are of a policy, and which of them are not
// well.
type census struct {
	at       time.Time
	peers    map[mesh.NodeName]bool
	troubled int
}

type subject struct{ policy, dc, check string }

// count fills in how the policy's other nodes are. The policies of one setup
// have names of their own, so a census is that of a name.
func (e *Engine) count(c *Case, p *policy) {
	k := subject{p.Name, c.Incident.DC, c.Incident.Check}
	e.mu.Lock()
	counted, ok := e.census[k]
	e.mu.Unlock()
	if !ok || c.Now.Sub(counted.at) >= countEvery || c.Now.Before(counted.at) {
		counted = e.survey(c, p)
		e.mu.Lock()
		e.census[k] = counted
		e.mu.Unlock()
	}
	c.Peers, c.Troubled, c.Unavailable = len(counted.peers), counted.troubled, p.share.Of(len(counted.peers))
	names := map[mesh.NodeName]bool{c.Incident.Node: true}
	for i := range c.Open {
		if c.Open[i].DC == c.Incident.DC {
			names[c.Open[i].Node] = true // one that is mended is not there either.
		}
	}
	for name := range names {
		if well, ok := counted.peers[name]; ok && well {
			c.Troubled++
		}
	}
}

// survey looks at every node that the policy may act on: those of its target,
// and without one those that have the check.
func (e *Engine) survey(c *Case, p *policy) census {
	out := census{at: c.Now, peers: make(map[mesh.NodeName]bool)}
	nodes := e.o.Nodes()
	for i := range nodes {
		n := &nodes[i]
		if n.DC != c.Incident.DC || !p.matches(n) {
			continue
		}
		s, known := e.o.Checks.Get(n.DC, n.Name, c.Incident.Check)
		if !known && p.target == nil {
			continue
		}
		well := n.Status == mesh.MemberAlive && (!known || s.Status == mesh.HealthPassing || s.Status == mesh.HealthWarning)
		out.peers[n.Name] = well
		if !well {
			out.troubled++
		}
	}
	return out
}

func maintenance(c *Case) string { return c.Maintained }

func flapping(c *Case) string {
	if c.Check != nil && c.Check.Result.Flapping {
		return "the check changes back and forth: nobody can say what is the matter"
	}
	return ""
}

func unavailable(c *Case) string {
	if c.Peers > 0 && c.Troubled > max(1, c.Unavailable) {
		return fmt.Sprintf("%d of %d nodes are in trouble, at most %d may be (max_unavailable = %q)",
			c.Troubled, c.Peers, max(1, c.Unavailable), c.Policy.MaxUnavailable)
	}
	return ""
}

func loss(c *Case) string {
	if c.Loses != "" && !c.LossTolerant {
		return fmt.Sprintf("data can be lost by %s, and the node is not declared to bear it: %s = true", c.Loses, attrLossTolerant)
	}
	return ""
}

func settled(c *Case) string {
	if c.Settled != nil {
		return "run " + string(c.Settled.ID) + " has done what can be done; the rest is for people"
	}
	return ""
}

func retry(c *Case) string {
	if t := c.Turned; t != nil {
		if until := t.Ended.Add(c.Policy.Retry); c.Now.Before(until) {
			return fmt.Sprintf("%s has refused at %s; not before %s", t.Guard, clock(t.Ended), clock(until))
		}
	}
	return ""
}
