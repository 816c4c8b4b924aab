package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"alps/agent/exec/journal"
	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/query"
	"alps/mesh/sign"
)

// resolveJob reads a job and decides: it goes to found.jobs or to
// found.refusals, or nowhere if it is not for this node. An error means that
// it could not be read.
func (e *Engine) resolveJob(ctx context.Context, p pending, woke mesh.Woke, found *findings) error {
	key := p.key()
	doc, ok, err := e.readTwice(ctx, dispatch.SpecKey(key.Job, key.Attempt))
	if err != nil {
		return err
	}
	if !ok {
		return errMissing
	}
	now := time.Now()
	// Nobody has signed the reference: what is refused is not remembered for
	// longer than a day because of it.
	expires := min(p.Expires, now.Add(mesh.RememberFor).Unix())
	refuse := func(state mesh.State, reason string) error {
		found.refusals = append(found.refusals, refusal{key: key, state: state, reason: reason, expires: expires})
		return nil
	}
	env, err := sign.DecodeEnvelope(doc)
	if err != nil {
		return refuse(mesh.Rejected, fmt.Sprintf("the job's document cannot be read: %v", err))
	}
	var spec mesh.Spec
	if err := json.Unmarshal(env.Payload, &spec); err != nil {
		return refuse(mesh.Rejected, fmt.Sprintf("the job's document cannot be read: %v", err))
	}
	// Whether it is for this node is looked at before anything is verified:
	// all nodes of a shard read it, and only those that it names speak.
	target, err := e.ownTarget(ctx, key, spec.Targets)
	switch {
	case errors.Is(err, dispatch.ErrNotTarget):
		return nil
	case errors.Is(err, errUnread):
		return err
	case err != nil:
		return refuse(mesh.Rejected, err.Error())
	}
	if why := e.distrust(&env, &spec, key, now); why != "" {
		return refuse(mesh.Rejected, why)
	}
	expires = spec.Expires
	switch {
	case time.Unix(spec.NotBefore, 0).After(now.Add(mesh.MaxSkew)):
		return refuse(mesh.Rejected, fmt.Sprintf("this node's clock says %s and the job begins at %s: they are more than %s apart",
			clock(now), clock(time.Unix(spec.NotBefore, 0)), mesh.MaxSkew))
	case now.Unix() > spec.Expires:
		return refuse(mesh.Expired, fmt.Sprintf("it expired at %s and this node's clock says %s", clock(time.Unix(spec.Expires, 0)), clock(now)))
	}
	if spec.NotBefore < e.journal.Born().Unix() {
		return refuse(mesh.Rejected, "issued before this agent's journal began")
	}
	j := newJob(key, &spec, target, now)
	j.woke, j.resumed, j.again = woke, p.resumed, e.journal.Stage(key) == journal.Started
	j.startAt = now.Add(offset(e.o.Node, key, spec.Window))
	found.jobs = append(found.jobs, j)
	if p.late {
		return e.lateCtl(ctx, key, found)
	}
	return nil
}

// lateCtl reads the ctl of a job whose changes may have been announced before
// we listened. One that has never been changed has none.
func (e *Engine) lateCtl(ctx context.Context, key journal.Key, found *findings) error {
	c, err := e.readCtl(ctx, key, 0)
	switch {
	case err == nil:
		found.ctls = append(found.ctls, c)
	case !errors.Is(err, errMissing):
		found.jobs = found.jobs[:len(found.jobs)-1] // it might be cancelled.
		return err
	}
	return nil
}

// errUnread says that a part of the list could not be read.
var errUnread = errors.New("the target list was not read")

// ownTarget finds the node in a list that nobody has verified yet. Errors
// wrap dispatch.ErrNotTarget, errUnread, or say what is wrong with the list.
func (e *Engine) ownTarget(ctx context.Context, key journal.Key, list mesh.TargetList) (mesh.Target, error) {
	var part []byte
	if dispatch.NeedsPart(list, e.o.Node) {
		b, found, err := e.readTwice(ctx, dispatch.PartKey(key.Job, key.Attempt, e.o.Node.Shard()))
		if err != nil {
			return mesh.Target{}, fmt.Errorf("%w: %w", errUnread, err)
		}
		if !found {
			return mesh.Target{}, fmt.Errorf("%w: %w", errUnread, errMissing)
		}
		part = b
	}
	return dispatch.Find(list, e.o.Node, part)
}

// distrust says why a job is not to be believed or not to be run here at all;
// empty means that it is. The spec is the envelope's payload.
func (e *Engine) distrust(env *sign.Envelope, spec *mesh.Spec, key journal.Key, now time.Time) string {
	if e.o.Disabled {
		return "jobs are switched off on this node"
	}
	root, trusted := e.o.Trust()
	if !trusted {
		return "no trust root is installed on this node"
	}
	payload, grant, err := root.Open(*env, sign.TypeJob, now)
	if err != nil {
		return fmt.Sprintf("the job's signature is not accepted: %v", err)
	}
	if !bytes.Equal(payload, env.Payload) {
		return "the job's signature is of something else"
	}
	if err := spec.Validate(); err != nil {
		return fmt.Sprintf("the job makes no sense: %v", err)
	}
	switch {
	case spec.Job != key.Job || spec.Attempt != key.Attempt:
		return fmt.Sprintf("the document is that of job %s, attempt %d", spec.Job, spec.Attempt)
	case spec.Cluster != e.o.Cluster:
		return fmt.Sprintf("the job is for the cluster %q, this node belongs to %q", spec.Cluster, e.o.Cluster)
	}
	if err := e.outOfScope(grant, spec); err != nil {
		return err.Error()
	}
	if err := e.o.Runner.Allows(spec.RunAs); err != nil {
		return err.Error()
	}
	return ""
}

// outOfScope says what of a job exceeds the grant that it was signed under.
func (e *Engine) outOfScope(g sign.Grant, spec *mesh.Spec) error {
	if err := g.Allows(spec); err != nil {
		return err
	}
	s := spec.Script
	if s != nil && s.Body != nil && mesh.Digest(s.Body) != s.SHA256 {
		return errors.New("the script is not the one that its digest names")
	}
	if name := foreignVariable(spec.Env); !g.Scope.Any && name != "" {
		// Some variables are commands to the interpreter of a script.
		return fmt.Errorf("the grant of %s allows its scripts as they are, without the variable %s in their environment", g.Holder, name)
	}
	expr, err := query.Parse(g.Scope.Targets)
	if err != nil {
		return fmt.Errorf("the target query in the grant of %s cannot be read: %w", g.Holder, err)
	}
	self := e.o.Self()
	for _, f := range expr.FieldNames() {
		if len(self.Field(f)) == 0 {
			return fmt.Errorf("the grant of %s is for nodes with %s, and this node does not know its own %q", g.Holder, expr, f)
		}
	}
	if !expr.Match(&self) {
		return fmt.Errorf("the grant of %s is for nodes with %s, and this node is none of them", g.Holder, expr)
	}
	return nil
}

// foreignVariable is the first name that is not one of ALPS's own, which tell a
// script why it runs and mean nothing to an interpreter.
func foreignVariable(env map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !strings.HasPrefix(name, "ALPS_") {
			return name
		}
	}
	return ""
}

// readCtl reads and verifies the ctl of an attempt. gen is the generation
// that was announced: an older one comes from a server that lags.
func (e *Engine) readCtl(ctx context.Context, key journal.Key, gen int) (dispatch.Ctl, error) {
	var c dispatch.Ctl
	for _, consistent := range []bool{false, true} {
		doc, found, err := e.read(ctx, dispatch.CtlKey(key.Job, key.Attempt), consistent)
		if err != nil {
			return c, err
		}
		if !found {
			continue
		}
		if c, err = e.openCtl(doc, key); err != nil {
			return c, fmt.Errorf("%w: %w", errUnbelieved, err)
		}
		if c.Gen >= gen {
			return c, nil
		}
	}
	if c.Gen > 0 {
		return c, fmt.Errorf("the ctl has generation %d, %d was announced", c.Gen, gen)
	}
	return c, fmt.Errorf("ctl of %s: %w", key, errMissing)
}

// errUnbelieved says that a ctl was read and is not followed.
var errUnbelieved = errors.New("the ctl is not believed")

// openCtl verifies a ctl by the same chain as a job.
func (e *Engine) openCtl(doc []byte, key journal.Key) (dispatch.Ctl, error) {
	env, err := sign.DecodeEnvelope(doc)
	if err != nil {
		return dispatch.Ctl{}, err
	}
	root, trusted := e.o.Trust()
	if !trusted {
		return dispatch.Ctl{}, errors.New("no trust root is installed on this node")
	}
	payload, _, err := root.Open(env, sign.TypeCtl, time.Now())
	if err != nil {
		return dispatch.Ctl{}, fmt.Errorf("ctl of %s: %w", key, err)
	}
	c, err := dispatch.DecodeCtl(payload)
	if err != nil {
		return dispatch.Ctl{}, err
	}
	if c.Cluster != e.o.Cluster || c.Job != key.Job || c.Attempt != key.Attempt {
		return dispatch.Ctl{}, fmt.Errorf("ctl of %s: it is that of job %s, attempt %d of %q", key, c.Job, c.Attempt, c.Cluster)
	}
	return c, nil
}

// clock prints a time as operators compare them.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
