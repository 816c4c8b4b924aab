package check

import (
	"cmp"
	"slices"
	"time"

	"alps/mesh"
)

const (
	// silence is the least time after which results are missed, and after
	// which an agent without a link is read from the catalog: agents gather
	// what has not changed for ten seconds, and come back within thirty.
	silence = 35 * time.Second
	// missingAfter is how long a check stays as it was when nobody says
	// anything of it: the inventory lists new checks within five minutes.
	missingAfter = 6 * time.Minute
	// recovers is what an agent that has come back has to refresh its checks
	// in Consul.
	recovers = time.Minute
	// firstWord is how long an agent is waited for before its node's checks
	// are read from the catalog; strangerAfter how long a check that it does
	// not know: it may be about to run it for the first time.
	firstWord     = time.Minute
	strangerAfter = fullGrace
	// untriedFor is how long a check that has not run is waited for where no
	// agent of ours is known yet: the inventory is a moment behind one that has
	// just enrolled.
	untriedFor = 10 * time.Second
	// leaves is how long a node may be missing from Consul before its checks
	// are no more. One that has left goes at once.
	leaves = time.Minute
)

// opinion is what to make of one check.
type opinion struct {
	verdict verdict
	status  mesh.Health
	lost    bool
	source  mesh.CheckSource
	result  *mesh.CheckResult
	at      time.Time // when the result was received; zero: with the status.
	due     time.Time // when to judge again though nothing comes; zero: never.
}

type verdict uint8

const (
	keep verdict = iota // as it was; nothing, if there was nothing.
	say
	drop // it is no more.
)

// moment is when and where a check is judged.
type moment struct {
	now    time.Time
	frozen bool // the catalog is not believed.
}

// judgeNode judges every check of a node.
func (s *Store) judgeNode(n *node, now time.Time, out *news) {
	m := moment{now: now, frozen: s.frozen(n.dc, now)}
	n.assess(now, s.o.AgentLost, m.frozen)
	n.due = time.Time{}
	if gone, due := n.leaving(m); gone || !due.IsZero() {
		n.wake(due)
		if gone {
			s.forget(n, out)
			return
		}
	}
	if !n.doubt.IsZero() && !n.lost {
		n.wake(n.doubt.Add(s.o.AgentLost))
	}
	if n.linked(now) && n.agent != mesh.AgentLinked {
		n.wake(n.said.last.Add(linkedFor))
	}
	for _, id := range n.ids() {
		s.judge(n, id, now, out)
	}
}

// ids lists every check that anybody knows of the node.
func (n *node) ids() []string {
	out := make([]string, 0, len(n.beliefs)+len(n.catalog)+1)
	for _, b := range n.beliefs {
		out = append(out, b.id)
	}
	for i := range n.catalog {
		out = append(out, n.catalog[i].ID)
	}
	if n.said != nil {
		for id := range n.said.checks {
			out = append(out, id)
		}
	}
	out = append(out, mesh.AgentCheck)
	slices.Sort(out)
	return slices.Compact(out)
}

// leaving reports whether the node is no more, or when it will be.
func (n *node) leaving(m moment) (gone bool, due time.Time) {
	switch {
	case n.known && (n.linked(m.now) || n.member != "" && n.member != mesh.MemberLeft):
		n.away = time.Time{}
		return false, time.Time{}
	case n.known && n.member == mesh.MemberLeft:
		return true, time.Time{}
	}
	// Nodes that were registered by hand have no member, and are listed.
	if n.known && n.id == "" {
		n.away = time.Time{}
		return false, time.Time{}
	}
	if n.away.IsZero() {
		n.away = m.now
	}
	at := n.away.Add(leaves)
	return !m.now.Before(at), at
}

// forget drops all checks of a node, and the node when it is not listed.
func (s *Store) forget(n *node, out *news) {
	for _, b := range n.beliefs {
		*out = append(*out, tidings{state: n.state(b), gone: true})
	}
	n.beliefs, n.seen, n.buried, n.due = nil, nil, nil, time.Time{}
	if n.known {
		return
	}
	delete(s.nodes, n.place)
	s.order = nil
	s.identify(n, "")
	if n.said != nil && n.said.node == n {
		n.said.node = nil
	}
}

// judge judges one check and keeps what has come of it.
func (s *Store) judge(n *node, id string, now time.Time, out *news) {
	m := moment{now: now, frozen: s.frozen(n.dc, now)}
	old := n.find(id)
	o := n.opinion(id, old, m)
	n.wake(o.due)
	switch o.verdict {
	case keep:
	case drop:
		if old != nil {
			i, _ := n.index(id)
			n.beliefs = slices.Delete(n.beliefs, i, i+1)
			*out = append(*out, tidings{state: n.state(old), gone: true})
		}
	case say:
		next := n.believe(id, old, o, now)
		if i, ok := n.index(id); ok {
			n.beliefs[i] = next
		} else {
			n.beliefs = slices.Insert(n.beliefs, i, next)
			delete(n.seen, id)
		}
		if old == nil || !old.same(next) {
			*out = append(*out, tidings{state: n.state(next)})
		}
	}
}

// believe makes the belief that follows old.
func (n *node) believe(id string, old *belief, o opinion, now time.Time) *belief {
	b := &belief{id: id, status: o.status, source: o.source, lost: o.lost, result: o.result, received: o.at, since: now}
	if n.enrolled() {
		b.owner = n.id
	}
	same := old != nil && old.status == o.status
	switch {
	case same:
		b.since = old.since
	case o.source == mesh.SourceLink && !o.lost && !o.result.HardSince.IsZero() && o.result.HardSince.Before(now):
		b.since = o.result.HardSince
	}
	if b.received.IsZero() {
		b.received = now
		if same && old.source == o.source {
			b.received = old.received
		}
	}
	return b
}

// wake sees to it that the node is judged again by then.
func (n *node) wake(at time.Time) {
	if !at.IsZero() && (n.due.IsZero() || at.Before(n.due)) {
		n.due = at
	}
}

// opinion applies the rules of the package's documentation. It changes nothing
// but what it remembers of checks that are new or gone.
func (n *node) opinion(id string, old *belief, m moment) opinion {
	c, h := n.listed(id), n.heard(id)
	if id == mesh.AgentCheck && n.manned() {
		return n.ofAgent(old, m)
	}
	if h != nil && !h.missed.IsZero() {
		at := h.missed.Add(fullGrace)
		if m.now.Before(at) {
			o := n.ofRun(h, c, old, m)
			o.due = earlier(o.due, at)
			return o
		}
		delete(n.said.checks, id)
		n.bury(id, m.now)
		h = nil
	}
	if h != nil {
		return n.ofRun(h, c, old, m)
	}
	if c == nil {
		return opinion{verdict: drop}
	}
	return n.ofCatalog(c, old, m)
}

// ofAgent judges whether the agent itself is well.
func (n *node) ofAgent(old *belief, m moment) opinion {
	o := opinion{verdict: say, source: mesh.SourceCatalog}
	var text string
	switch {
	case n.linked(m.now):
		o.status, o.source, text = mesh.HealthPassing, mesh.SourceLink, "the agent is connected"
	case m.frozen:
		return opinion{due: m.now.Add(tickEvery)}
	case n.vouched():
		o.status, text = mesh.HealthPassing, "the agent is not connected to this server; Consul sees it"
	case !n.lost:
		return opinion{}
	case n.serfAlive():
		o.status, text = mesh.HealthCritical, "the agent is lost: it is not connected and its check in Consul has expired; the node lives"
	default:
		o.status, o.lost, text = mesh.HealthUnknown, true, "the agent is lost with its node: see "+mesh.SerfCheck
	}
	if old != nil && old.result.Output == text && old.source == o.source {
		o.result = old.result
		return o
	}
	o.result = &mesh.CheckResult{
		Check: mesh.AgentCheck, Name: "ALPS agent", Service: mesh.AgentService, Status: o.status, Hard: o.status,
		Attempt: 1, Attempts: 1, Output: text,
	}
	return o
}

// ofRun judges a check that the agent has told of.
func (n *node) ofRun(h *heard, c *mesh.Check, old *belief, m moment) opinion {
	if n.lost {
		return opinion{verdict: say, status: mesh.HealthUnknown, lost: true, source: mesh.SourceCatalog, result: h.result, at: h.at}
	}
	until := h.at.Add(max(silence, 2*h.result.Period))
	if !n.unlinked.IsZero() {
		// Without a link there will be no more; the catalog may know better.
		until = earlier(until, later(h.at, n.unlinked).Add(silence))
	}
	if m.now.Before(until) {
		return opinion{verdict: say, status: h.result.Hard, source: mesh.SourceLink, result: h.result, at: h.at, due: until}
	}
	if m.frozen {
		return opinion{due: m.now.Add(tickEvery)}
	}
	if n.vouched() && c != nil {
		status, expired := mesh.CatalogHealth(c.Status, c.Output)
		if expired && h.result.Kind == mesh.CheckTTL {
			// Somebody else had to say how it is, and did not.
			status, expired = mesh.HealthCritical, false
		}
		if at := n.turned.Add(recovers); expired && m.now.Before(at) {
			return opinion{due: at}
		}
		return opinion{verdict: say, status: status, source: mesh.SourceCatalog, result: overlay(h.result, c, status)}
	}
	at := later(h.at, n.turned).Add(missingAfter)
	if m.now.Before(at) || old == nil {
		return opinion{due: at}
	}
	return opinion{verdict: say, status: mesh.HealthUnknown, source: old.source, result: h.result, at: h.at}
}

// ofCatalog judges a check that only Consul knows.
func (n *node) ofCatalog(c *mesh.Check, old *belief, m moment) opinion {
	if since, ok := n.buried[c.ID]; ok && m.now.Sub(since) < buriedFor {
		return opinion{verdict: drop, due: since.Add(buriedFor)}
	}
	if old == nil && c.ID != mesh.SerfCheck && (n.enrolled() || untried(c)) {
		if at := n.waits(c.ID, m.now); m.now.Before(at) {
			return opinion{due: at}
		}
	}
	if m.frozen {
		return opinion{due: m.now.Add(tickEvery)}
	}
	status, expired := mesh.CatalogHealth(c.Status, c.Output)
	lost := false
	switch {
	case untried(c) && n.enrolled():
		status = mesh.HealthUnknown // our agent has not looked: that is no fault of what is checked.
	case !expired:
	case !n.manned() || n.said != nil && n.said.full:
		// No agent of ours was to refresh it: it says what it says.
		status = c.Status
	case n.lost:
		lost = true
	case !n.vouched():
		return opinion{} // judged again when the agent is lost, or tells of all its checks.
	}
	return opinion{
		verdict: say, status: status, lost: lost, source: mesh.SourceCatalog,
		result: overlay(&mesh.CheckResult{Check: c.ID, Name: c.Name, Notes: c.Notes, Service: cmp.Or(c.ServiceID, c.Service)}, c, status),
	}
}

// untried reports whether a check looks as Consul shows one that was registered
// and has not run yet: critical, without a word. Its agent may not be known to
// be one of ours yet.
func untried(c *mesh.Check) bool { return c.Status == mesh.HealthCritical && c.Output == "" }

// waits returns until when a check that was found in the catalog is waited for
// on the link.
func (n *node) waits(id string, now time.Time) time.Time {
	since, ok := n.seen[id]
	if !ok {
		if n.seen == nil {
			n.seen = make(map[string]time.Time)
		}
		since = now
		n.seen[id] = since
	}
	switch {
	case !n.enrolled():
		return since.Add(untriedFor)
	case n.said != nil && n.said.full:
		return since.Add(strangerAfter)
	}
	return since.Add(firstWord)
}

// overlay is a result with what the catalog says in place of what was run. What
// was run named its disks: they stand as long as the catalog says the same.
func overlay(r *mesh.CheckResult, c *mesh.Check, status mesh.Health) *mesh.CheckResult {
	out := *r
	if r.Hard != status || r.Output != c.Output {
		out.Disks = nil
	}
	out.Status, out.Hard, out.Output = status, status, c.Output
	out.Flapping, out.Truncated, out.Timeout, out.Code = false, false, false, 0
	out.HardSince, out.Samples = time.Time{}, nil
	return &out
}

// earlier returns the earlier of two times; zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
