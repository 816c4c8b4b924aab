package job

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"alps/mesh"
	"alps/mesh/nodeset"
	"alps/mesh/query"
	"alps/mesh/sign"
)

// draftFor is how long a draft waits for its signature; maxDrafts how many may
// wait at once.
const (
	draftFor  = 5 * time.Minute
	maxDrafts = 256
)

// DraftError says that an operator's key must sign. Payload is what to seal,
// byte for byte, as a document of type Type; Sign takes the envelope. Nothing
// is stored before that, and a draft is forgotten after five minutes.
type DraftError struct {
	Job     mesh.JobID
	Type    sign.Type
	Payload []byte
	Expires time.Time
	err     *mesh.Error
}

// Error says why the server may not sign.
func (e *DraftError) Error() string { return e.err.Error() }

// Unwrap returns the *mesh.Error, of code mesh.NeedsKey.
func (e *DraftError) Unwrap() error { return e.err }

// A draft waits for an operator's signature.
type draft struct {
	who     string
	typ     sign.Type
	payload []byte
	expires time.Time
	// check judges the grant; accept goes on with the signed document.
	check  func(sign.Grant) error
	accept func(context.Context, sign.Envelope, sign.Grant) (Submission, error)
}

// keepDraft keeps a job that the server may not sign, and returns the error
// that says so.
func (s *Service) keepDraft(p *prepared, why error) error {
	return s.addDraft(p.new.Job.ID, why, &draft{
		who: p.new.Job.Author, typ: sign.TypeJob, payload: p.payload,
		check: func(g sign.Grant) error { return allows(g, &p.new.Job.Spec, p.nodes) },
		accept: func(ctx context.Context, env sign.Envelope, g sign.Grant) (Submission, error) {
			p.new.Job.Signer = g.Holder
			return s.admit(ctx, p, &env)
		},
	})
}

func (s *Service) addDraft(id mesh.JobID, why error, d *draft) error {
	now := time.Now()
	d.expires = now.Add(draftFor)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, old := range s.drafts {
		if now.After(old.expires) {
			delete(s.drafts, k)
		}
	}
	if len(s.drafts) >= maxDrafts {
		return mesh.Errorf(mesh.Unavailable, "%d jobs wait for a signature already", maxDrafts).WithHint("sign them, or wait five minutes")
	}
	s.drafts[id] = d
	return &DraftError{
		Job: id, Type: d.typ, Payload: d.payload, Expires: d.expires,
		err: mesh.Errorf(mesh.NeedsKey, "an operator's key must sign this: %w", why).
			WithHint("alps exec --key FILE signs with yours"),
	}
}

// Sign goes on with a draft: the envelope must hold its very bytes, signed
// under a grant that allows it. Only who made the draft may sign it. A failed
// attempt leaves the draft as it was.
func (s *Service) Sign(ctx context.Context, who Actor, id mesh.JobID, env sign.Envelope) (Submission, error) {
	sub, err := s.sign(ctx, who, id, env)
	if err != nil {
		s.auditRefusal(ctx, mesh.Audit{
			Actor: who.Name, From: who.From, Action: "job.sign", Object: string(id), Reason: err.Error(),
		}, err)
	}
	return sub, err
}

func (s *Service) sign(ctx context.Context, who Actor, id mesh.JobID, env sign.Envelope) (Submission, error) {
	s.mu.RLock()
	d := s.drafts[id]
	s.mu.RUnlock()
	if d == nil || d.who != who.Name || time.Now().After(d.expires) {
		return Submission{}, mesh.Errorf(mesh.NotFound, "no draft %s waits for a signature of yours", id).
			WithHint("a draft is kept for five minutes: submit the job again")
	}
	payload, grant, err := s.o.Root().Open(env, d.typ, time.Now())
	if err != nil {
		return Submission{}, mesh.Errorf(mesh.Denied, "verify the signature: %w", err).
			WithHint("alps keys show FILE tells what a key may do")
	}
	if !bytes.Equal(payload, d.payload) {
		return Submission{}, mesh.Errorf(mesh.Denied, "what was signed is not the draft %s", id)
	}
	if err := d.check(grant); err != nil {
		return Submission{}, mesh.Errorf(mesh.Denied, "%w", err)
	}
	s.mu.Lock()
	mine := s.drafts[id] == d
	delete(s.drafts, id) // of two signatures at once the first counts.
	s.mu.Unlock()
	if !mine {
		return Submission{}, mesh.Errorf(mesh.Conflict, "the draft %s was signed a moment ago", id)
	}
	sub, err := d.accept(ctx, env, grant)
	if err != nil {
		s.mu.Lock()
		s.drafts[id] = d
		s.mu.Unlock()
	}
	return sub, err
}

// seal signs a job with the server's own key, if its grant allows it.
func (s *Service) seal(p *prepared) (sign.Envelope, string, error) {
	grant, err := s.ownGrant()
	if err != nil {
		return sign.Envelope{}, "", err
	}
	if err := allows(grant, &p.new.Job.Spec, p.nodes); err != nil {
		return sign.Envelope{}, "", err
	}
	return s.o.Signer.Key.Seal(sign.TypeJob, p.payload, &s.o.Signer.Grant), grant.Holder, nil
}

// ownGrant opens the server's grant as every node would.
func (s *Service) ownGrant() (sign.Grant, error) {
	if s.o.Signer == nil {
		return sign.Grant{}, fmt.Errorf("this server has no key")
	}
	return s.o.Root().OpenGrant(&s.o.Signer.Grant, time.Now())
}

// allows judges a job by a grant, its target query included, so that an
// operator is told now what every node would say later.
func allows(g sign.Grant, spec *mesh.Spec, nodes []mesh.Node) error {
	if err := g.Allows(spec); err != nil {
		return err
	}
	expr, err := query.Parse(g.Scope.Targets)
	if err != nil {
		return fmt.Errorf("the grant of %s: its target query: %w", g.Holder, err)
	}
	var outside []string
	for i := range nodes {
		if !expr.Match(&nodes[i]) {
			outside = append(outside, string(nodes[i].Name))
		}
	}
	if len(outside) > 0 {
		return fmt.Errorf("the grant of %s does not reach %s", g.Holder, nodeset.Fold(outside))
	}
	return nil
}
