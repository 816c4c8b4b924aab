package job

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/nodeset"
	"alps/mesh/query"
	"alps/mesh/sign"
)

// publishWait is how long Submit waits for Consul before it answers that the
// job is stored and will be announced later.
const publishWait = 5 * time.Second

// Submission is what became of a request.
type Submission struct {
	Job Job
	// Published is set when the job is announced in every datacenter that it
	// has targets in. Otherwise Warning says what is waited for; the job is
	// kept and announced as soon as that is back, unless it expires first.
	Published bool
	Warning   string
	// Repeated is set when the submit token was used before: Job is the
	// earlier one and nothing was started.
	Repeated bool
}

// Submit makes a job of a request. When the server may not sign it the error
// is a *DraftError, of code mesh.NeedsKey, and nothing is stored; Sign goes
// on from there. Every outcome but that leaves an audit line.
func (s *Service) Submit(ctx context.Context, who Actor, r Request) (Submission, error) {
	sub, err := s.submit(ctx, who, r)
	if err != nil && mesh.CodeOf(err) != mesh.NeedsKey {
		s.auditRefusal(ctx, mesh.Audit{
			Actor: who.Name, From: who.From, Action: "job.submit", Object: r.Target, Reason: err.Error(),
		}, err)
	}
	return sub, err
}

func (s *Service) submit(ctx context.Context, who Actor, r Request) (Submission, error) {
	r, err := r.complete(s.o.Limits)
	if err != nil {
		return Submission{}, err
	}
	if sub, ok, err := s.earlier(ctx, who, r); ok || err != nil {
		return sub, err
	}
	p, err := s.prepare(who, r)
	if err != nil {
		return Submission{}, err
	}
	if p.new.Job.Spec.Targets.Count == 0 {
		return s.admit(ctx, p, nil)
	}
	p.fence = r.Fence
	env, holder, err := s.seal(p)
	if err != nil && r.ID != "" { // nobody waits to sign it.
		return Submission{}, mesh.Errorf(mesh.Denied, "the server may not sign the job %s: %w", r.ID, err).
			WithHint("alps keys grant: the server's grant must allow the script, its user and its nodes")
	}
	if err != nil {
		return Submission{}, s.keepDraft(p, err)
	}
	p.new.Job.Signer = holder
	return s.admit(ctx, p, &env)
}

// earlier finds the job that the same author submitted with the same token.
func (s *Service) earlier(ctx context.Context, who Actor, r Request) (Submission, bool, error) {
	if r.Token == "" {
		return Submission{}, false, nil
	}
	j, err := s.o.History.JobByToken(ctx, who.Name, r.Token)
	switch {
	case mesh.CodeOf(err) == mesh.NotFound:
		return Submission{}, false, nil
	case err != nil:
		return Submission{}, false, err
	case j.Content != r.content():
		return Submission{}, false, mesh.Errorf(mesh.Conflict, "the submit token was used for job %s, which asks for something else", j.ID).
			WithHint("use a new token for a new job")
	}
	sub, err := s.repeat(ctx, r, j)
	return sub, true, err
}

// repeat answers for a job that exists, and has it announced should that have
// failed for the lock that it was submitted under.
func (s *Service) repeat(ctx context.Context, r Request, j Job) (Submission, error) {
	sub := Submission{Job: j, Repeated: true}
	if r.Fence == nil || !j.Ended.IsZero() || !time.Now().Before(j.Expires) {
		return s.outcome(sub), nil
	}
	l, err := s.placed(ctx, j.ID)
	if err != nil {
		return Submission{}, err
	}
	s.mu.RLock()
	missing := l.missing()
	s.mu.RUnlock()
	return s.publish(ctx, sub, l, missing, r.Fence)
}

// Announced reports whether the nodes of a job may have been told of it, or it is
// over. A job whose lock was lost before is not, in one datacenter at least, and
// never will be until it is submitted again. mesh.NotFound says that there is no
// such job; any other error, that nobody can tell.
func (s *Service) Announced(ctx context.Context, id mesh.JobID) (bool, error) {
	l, err := s.placed(ctx, id)
	if err != nil {
		return false, err
	}
	s.mu.RLock()
	over, missing := !l.job.Ended.IsZero(), l.missing()
	s.mu.RUnlock()
	if over {
		return true, nil
	}
	for _, dc := range missing {
		if told, err := s.onBoard(ctx, l, dc); err != nil || !told {
			return false, err
		}
	}
	return true, nil
}

// onBoard looks whether a job is announced in a datacenter where nobody has
// noted that: who announced it may have died before the note. It is noted then.
func (s *Service) onBoard(ctx context.Context, l *live, dc string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	key := dispatch.SpecKey(l.job.ID, l.job.Attempt)
	docs, err := s.o.Board(dc).List(ctx, key, true)
	if err != nil {
		return false, fmt.Errorf("look whether job %s is announced in %s: %w", l.job.ID, dc, err)
	}
	if !slices.ContainsFunc(docs, func(d Document) bool { return d.Key == key && bytes.Equal(d.Value, l.job.Envelope) }) {
		return false, nil
	}
	s.mu.Lock()
	p := l.places[dc]
	p.Published = true
	c := Change{Places: []Place{*p}}
	s.mu.Unlock()
	return true, s.o.History.Apply(ctx, c)
}

// missing are the datacenters in which nobody has noted that l is announced,
// sorted. Service.mu is held.
func (l *live) missing() []string {
	var dcs []string
	for dc, p := range l.places {
		if !p.Published {
			dcs = append(dcs, dc)
		}
	}
	slices.Sort(dcs)
	return dcs
}

// placed returns a job with its places, also when another server has taken it
// in.
func (s *Service) placed(ctx context.Context, id mesh.JobID) (l *live, err error) {
	err = s.enter(ctx, func(ctx context.Context, b *batch) (err error) {
		l, err = b.s.find(ctx, id)
		return err
	})
	if err != nil || len(l.places) > 0 {
		return l, err
	}
	places, err := s.o.History.Places(ctx, true, time.Time{})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range places {
		if p.Job == id && l.places[p.DC] == nil {
			l.places[p.DC] = &p
		}
	}
	return l, nil
}

// A prepared job is complete but for its signature.
type prepared struct {
	new     NewJob
	payload []byte // of the Spec, as it is to be signed.
	nodes   []mesh.Node
	fence   *Fence
}

// prepare resolves the targets and writes the Spec.
func (s *Service) prepare(who Actor, r Request) (*prepared, error) {
	if s.o.Root().Key.IsZero() {
		return nil, mesh.Errorf(mesh.Denied, "remote execution is off: no trust root is installed").
			WithHint("alps keys init DIR, then set keys.root in the server's config")
	}
	expr, err := parseTarget(r.Target)
	if err != nil {
		return nil, err
	}
	nodes, err := s.resolve(who, expr, r.AllowMissing)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	spec := r.spec(s.o.Cluster, who.Name, now)
	targets, listed := list(nodes, now)
	plan, err := r.plan(len(listed))
	if err != nil {
		return nil, err
	}
	racks := make(map[mesh.NodeName]string, len(nodes))
	for i := range nodes {
		racks[nodes[i].Name] = nodes[i].Naming.Rack
	}
	plan.assign(targets, func(t Target) string { return racks[t.Name] })
	if spec.Targets, _, err = split(targets); err != nil {
		return nil, err
	}
	spec.Window = window(spec.Targets.Count)
	if spec.Targets.Count > 0 {
		if err := spec.Validate(); err != nil {
			return nil, mesh.Errorf(mesh.Invalid, "the job makes no sense: %w", err)
		}
	}
	payload, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode the job: %w", err)
	}
	p := &prepared{payload: payload, nodes: listed}
	p.new.Job = Job{
		ID: spec.Job, Attempt: spec.Attempt, Author: who.Name, Title: r.title(), Expr: expr.String(),
		Created: now.UTC().Truncate(time.Millisecond), Expires: time.Unix(spec.Expires, 0).UTC(),
		Token: r.Token, Content: r.content(), Spec: spec, Plan: plan,
		Phase: dispatch.PhaseRun, Counts: count(targets), Woke: map[mesh.Woke]int{},
	}
	p.new.Targets, p.new.Places = targets, places(spec.Job, targets)
	if r.Script != nil {
		p.new.Script = r.Script.Body
	}
	p.new.Audit = mesh.Audit{
		Time: now, Actor: who.Name, From: who.From, Action: "job.submit", Object: string(spec.Job), Outcome: mesh.OutcomeDone,
		Detail: map[string]string{
			"what": p.new.Job.Title, "target": p.new.Job.Expr, "nodes": strconv.Itoa(len(targets)),
			"spec_sha256": mesh.Digest(payload),
		},
	}
	if spec.Script != nil {
		p.new.Audit.Detail["script_sha256"] = spec.Script.SHA256
	}
	if r.RunAs != "" {
		p.new.Audit.Detail["run_as"] = r.RunAs
	}
	return p, nil
}

// resolve finds the nodes that an expression means, for somebody.
func (s *Service) resolve(who Actor, expr *query.Expr, allowMissing bool) ([]mesh.Node, error) {
	nodes, err := s.o.Resolver.Resolve(expr)
	if err != nil {
		return nil, err
	}
	var missing, outside []string
	for _, name := range expr.Names() {
		if _, ok := s.o.Resolver.Node(name); !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 && !allowMissing {
		return nil, mesh.Errorf(mesh.NotFound, "no such node: %s", nodeset.Fold(missing)).
			WithHint("alps node list; or --allow-missing to go on without these")
	}
	if len(nodes) == 0 {
		return nil, mesh.Errorf(mesh.NoTargets, "the expression %q matches no node", expr.String()).
			WithHint("alps node list; and alps node list --help for the fields")
	}
	if len(nodes) > s.o.Limits.MaxTargets {
		return nil, mesh.Errorf(mesh.TooLarge, "the expression matches %d nodes, a job takes %d", len(nodes), s.o.Limits.MaxTargets).
			WithHint("split it, for instance by datacenter: add dc=NAME")
	}
	for i := range nodes {
		if !who.reaches(&nodes[i]) {
			outside = append(outside, string(nodes[i].Name))
		}
	}
	if len(outside) > 0 {
		return nil, mesh.Errorf(mesh.Denied, "%s outside what the token %q may reach: %s",
			word(len(outside), "target is", "targets are"), who.Name, nodeset.Fold(outside)).
			WithHint("narrow the expression: add `and (%s)`", who.Scope)
	}
	return nodes, nil
}

// list makes the target list: every node that was meant, in the order of
// names. Nodes that have no agent to tell are refused here and now, and stay
// in the list.
func list(nodes []mesh.Node, now time.Time) (targets []Target, listed []mesh.Node) {
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, func(a, b mesh.Node) int {
		return cmp.Or(nodeset.Compare(string(a.Name), string(b.Name)), cmp.Compare(a.ID, b.ID))
	})
	seen := make(map[mesh.NodeID]bool, len(nodes))
	targets = make([]Target, len(nodes))
	for i, n := range nodes {
		t := Target{Index: i, Node: n.ID, Name: n.Name, DC: n.DC, State: mesh.Pending, At: now.UTC().Truncate(time.Millisecond)}
		switch {
		case n.ID == "" || n.Agent == mesh.AgentNone:
			t.State, t.Reason, t.Node = mesh.Rejected, "no ALPS agent has enrolled on this node", ""
		case n.Agent == mesh.AgentRevoked:
			t.State, t.Reason, t.Node = mesh.Rejected, "the node's enrolment was revoked", ""
		case seen[n.ID]:
			t.State, t.Reason, t.Node = mesh.Rejected, "its agent is in the list already, under another name", ""
		default:
			t.Listed, seen[n.ID] = true, true
			listed = append(listed, n)
		}
		targets[i] = t
	}
	return targets, listed
}

// split fixes the listed targets for a Spec; the parts are by shard.
func split(targets []Target) (mesh.TargetList, map[int][]byte, error) {
	signed := make([]mesh.Target, 0, len(targets))
	for _, t := range targets {
		if t.Listed {
			signed = append(signed, mesh.Target{Node: t.Node, Wave: t.Wave})
		}
	}
	return dispatch.Split(signed)
}

// places lists the datacenters that a job is written in.
func places(id mesh.JobID, targets []Target) []Place {
	var out []Place
	for _, t := range targets {
		if t.Listed && !slices.ContainsFunc(out, func(p Place) bool { return p.DC == t.DC }) {
			out = append(out, Place{Job: id, DC: t.DC})
		}
	}
	slices.SortFunc(out, func(a, b Place) int { return cmp.Compare(a.DC, b.DC) })
	return out
}

func count(targets []Target) mesh.Counts {
	c := make(mesh.Counts)
	for _, t := range targets {
		c[t.State]++
	}
	return c
}

// admit stores a job and has it announced. env is nil when nobody is to be
// told, because no target has an agent.
func (s *Service) admit(ctx context.Context, p *prepared, env *sign.Envelope) (Submission, error) {
	if env != nil {
		doc, err := env.Encode()
		if err != nil {
			return Submission{}, err
		}
		p.new.Job.Envelope = doc
		p.new.Audit.Detail["signed_by"] = p.new.Job.Signer
	}
	if p.new.Job.Counts.Open() == 0 {
		p.new.Job.Ended = p.new.Job.Created
	}
	if err := s.o.History.Create(ctx, p.new); err != nil {
		if mesh.CodeOf(err) == mesh.Conflict && p.new.Job.Token != "" { // somebody was a moment faster.
			if j, terr := s.o.History.JobByToken(ctx, p.new.Job.Author, p.new.Job.Token); terr == nil && j.Content == p.new.Job.Content {
				return s.repeat(ctx, Request{Fence: p.fence}, j)
			}
		}
		return Submission{}, err
	}
	l := newLive(p.new.Job, p.new.Targets, p.new.Places)
	s.mu.Lock()
	s.live[l.job.ID] = l
	s.mu.Unlock()
	s.tell(change{job: p.new.Job, kind: eventSubmitted})

	dcs := make([]string, len(p.new.Places))
	for i, pl := range p.new.Places {
		dcs[i] = pl.DC
	}
	return s.publish(ctx, Submission{Job: p.new.Job}, l, dcs, p.fence)
}

// publish announces a job and waits for a while until that is done. When the
// lock of fence is lost it is mesh.Conflict.
func (s *Service) publish(ctx context.Context, sub Submission, l *live, dcs []string, fence *Fence) (Submission, error) {
	waits := make([]*announcement, 0, len(dcs))
	for _, dc := range dcs {
		if a := s.announce(l, dc, dispatch.KindJob, fence); a != nil {
			waits = append(waits, a)
		}
	}
	wait, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	lost := false
	for _, a := range waits {
		select {
		case <-a.done:
			lost = lost || a.lost
		case <-wait.Done():
		case <-s.stopped:
		}
	}
	sub = s.outcome(sub)
	if lost {
		return sub, mesh.Errorf(mesh.Conflict, "job %s is not announced: another server leads", sub.Job.ID)
	}
	return sub, nil
}

// outcome says where a job has been announced. What is not remembered in
// memory has ended, and nothing is waited for.
func (s *Service) outcome(sub Submission) Submission {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sub.Published = true
	l := s.live[sub.Job.ID]
	if l == nil {
		return sub
	}
	missing := l.missing()
	if sub.Published = len(missing) == 0; !sub.Published {
		sub.Warning = fmt.Sprintf("the job is stored and not announced yet: Consul in %s does not answer; it goes out when Consul is back, or expires %s",
			nodeset.Fold(missing), sub.Job.Expires.Format(time.RFC3339))
	}
	return sub
}

// auditRefusal writes the audit line of what was not done. A line that cannot
// be written changes nothing for the caller, who gets the error already.
func (s *Service) auditRefusal(ctx context.Context, a mesh.Audit, cause error) {
	a.Time, a.Outcome = time.Now(), mesh.OutcomeRefused
	if code := mesh.CodeOf(cause); code == mesh.Unavailable || code == mesh.Internal {
		a.Outcome = mesh.OutcomeFailed
	}
	if err := s.o.History.Apply(context.WithoutCancel(ctx), Change{Audit: []mesh.Audit{a}}); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Error("an audit line is lost", "action", a.Action, "object", a.Object, "error", err)
	}
}
