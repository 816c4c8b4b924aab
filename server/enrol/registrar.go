package enrol

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

// Options are what a Registrar needs. Store, CA and Logger are required.
type Options struct {
	Store  Store
	CA     *pki.CA
	Logger hclog.Logger
	// TrustRoot is the public key that new nodes pin for jobs; empty for none.
	TrustRoot string
	// Servers are the addresses of links that new nodes are told.
	Servers []string
	// OnChange, if not nil, is called when a node was let in or shut out.
	OnChange func(mesh.NodeID)
}

// Registrar lets nodes in and shuts them out. Its methods may be called from
// any goroutine.
type Registrar struct {
	o       Options
	revoked atomic.Pointer[map[mesh.NodeID]bool]
	one     sync.Mutex // held by Enrol: evidence is compared and saved as one step.
	reading sync.Mutex // held while revoked is read anew: an older answer must not replace a newer.
}

// DefaultTTL is how long a join token is good unless told otherwise: a day's
// work on new machines. MaxTTL keeps a forgotten one from being a door.
const (
	DefaultTTL = 24 * time.Hour
	MaxTTL     = 90 * 24 * time.Hour
)

const (
	// maxEvidence is the longest piece of evidence, in bytes.
	maxEvidence = 255
	// maxNotes bounds what is noted of one enrolment: a cloned image may be
	// like hundreds.
	maxNotes = 5
)

// New reads who is revoked, so that nobody is let in by mistake in the first
// moment.
func New(ctx context.Context, o Options) (*Registrar, error) {
	if o.Store == nil || o.CA == nil || o.Logger == nil {
		return nil, errors.New("enrol: a store, a CA and a logger are required")
	}
	if o.OnChange == nil {
		o.OnChange = func(mesh.NodeID) {}
	}
	r := &Registrar{o: o}
	return r, r.Reload(ctx)
}

// Reload reads again who is revoked, for where another server on the same
// store may have added to it. After an error the list stays as it was.
func (r *Registrar) Reload(ctx context.Context) error {
	r.reading.Lock()
	defer r.reading.Unlock()
	ids, err := r.o.Store.Revoked(ctx)
	if err != nil {
		return fmt.Errorf("read the revoked nodes: %w", err)
	}
	set := make(map[mesh.NodeID]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	r.revoked.Store(&set)
	return nil
}

// IsRevoked reports whether a node is shut out. It answers from memory.
func (r *Registrar) IsRevoked(id mesh.NodeID) bool { return (*r.revoked.Load())[id] }

// TokenRequest says what join token to make.
type TokenRequest struct {
	Role     string
	Reusable bool
	TTL      time.Duration // 0 means DefaultTTL.
	By       string
}

// CreateToken makes a join token and returns its text, which is not kept.
func (r *Registrar) CreateToken(ctx context.Context, q TokenRequest) (JoinToken, string, error) {
	if q.TTL == 0 {
		q.TTL = DefaultTTL
	}
	if q.TTL < time.Second || q.TTL > MaxTTL {
		return JoinToken{}, "", mesh.Errorf(mesh.Invalid, "a join token is good for 1s to %s, not %s", MaxTTL, q.TTL)
	}
	secret := r.o.CA.NewJoinToken()
	now := time.Now().UTC()
	t := JoinToken{
		ID: secret.ID, SecretHash: secret.Secret.Hash(), Role: q.Role, Reusable: q.Reusable,
		CreatedBy: q.By, Created: now, Expires: now.Add(q.TTL),
	}
	if err := r.o.Store.SaveJoinToken(ctx, t); err != nil {
		return JoinToken{}, "", fmt.Errorf("save the join token: %w", err)
	}
	return t, secret.String(), nil
}

// Tokens lists every join token, the newest first.
func (r *Registrar) Tokens(ctx context.Context) ([]JoinToken, error) {
	return r.o.Store.JoinTokens(ctx)
}

// ExpireToken ends a join token now. It may be called twice.
func (r *Registrar) ExpireToken(ctx context.Context, id string) error {
	return r.o.Store.ExpireJoinToken(ctx, id, time.Now().UTC())
}

// Enrol lets a machine in that shows a join token. The same key with the same
// token gets the same NodeID again. Errors are mesh.Denied for a token that is
// unknown, wrong, spent or expired: a stranger is not told which.
func (r *Registrar) Enrol(ctx context.Context, q frame.EnrolRequest) (frame.EnrolResponse, error) {
	evidence, err := evidenceOf(q)
	if err != nil {
		return frame.EnrolResponse{}, err
	}
	r.one.Lock()
	defer r.one.Unlock()
	now := time.Now().UTC()
	token, err := r.admit(ctx, q, evidence, now)
	if err != nil {
		return frame.EnrolResponse{}, err
	}
	node, err := r.node(ctx, token, evidence, now)
	if err != nil {
		return frame.EnrolResponse{}, err
	}
	cert, err := r.certify(ctx, node, []byte(q.CSR), now)
	if err != nil {
		return frame.EnrolResponse{}, err
	}
	r.o.Logger.Info("node enrolled", "node", node.ID, "host", evidence.Hostname, "token", token.ID, "notes", node.Notes)
	r.o.OnChange(node.ID)
	return frame.EnrolResponse{
		NodeID: node.ID, Cluster: r.o.CA.Cluster(), Cert: string(cert), CA: string(r.o.CA.PEM()),
		TrustRoot: r.o.TrustRoot, Servers: r.o.Servers,
	}, nil
}

// evidenceOf takes what a request says about its sender, within bounds, and
// the hash of the key that it proves to hold.
func evidenceOf(q frame.EnrolRequest) (Evidence, error) {
	pub, err := pki.RequestKey([]byte(q.CSR))
	if err != nil {
		return Evidence{}, mesh.Errorf(mesh.Invalid, "enrol: %w", err)
	}
	key, err := pki.KeyHash(pub)
	if err != nil {
		return Evidence{}, mesh.Errorf(mesh.Invalid, "enrol: %w", err)
	}
	e := Evidence{
		MachineID: strings.ToLower(q.Evidence.MachineID), DMIUUID: strings.ToLower(q.Evidence.DMIUUID),
		Hostname: q.Evidence.Hostname, Key: key,
	}
	odd := func(c rune) bool { return c <= ' ' || c > '~' }
	for _, v := range []string{e.MachineID, e.DMIUUID, e.Hostname} {
		if len(v) > maxEvidence || strings.ContainsFunc(v, odd) {
			return Evidence{}, mesh.Errorf(mesh.Invalid, "enrol: evidence %.40q: want at most %d printable ASCII characters and no space", v, maxEvidence)
		}
	}
	return e, nil
}

// admit checks the token and counts its use.
func (r *Registrar) admit(ctx context.Context, q frame.EnrolRequest, e Evidence, now time.Time) (JoinToken, error) {
	shown, err := pki.ParseJoinToken(q.Token)
	if err != nil {
		return JoinToken{}, err
	}
	if !shown.Pins(r.o.CA.Certificate()) {
		return JoinToken{}, mesh.Errorf(mesh.Denied, "the join token %s is of another cluster; this is %q", shown.ID, r.o.CA.Cluster())
	}
	token, err := r.o.Store.JoinTokenByID(ctx, shown.ID)
	if err != nil && mesh.CodeOf(err) != mesh.NotFound {
		return JoinToken{}, fmt.Errorf("look up join token %s: %w", shown.ID, err)
	}
	// An unknown id goes through the same comparison as a known one.
	if !shown.Secret.Matches(token.SecretHash) || err != nil {
		return JoinToken{}, refused(shown.ID)
	}
	token, err = r.o.Store.UseJoinToken(ctx, shown.ID, e.Key, now)
	if mesh.CodeOf(err) == mesh.Denied {
		r.o.Logger.Warn("join token refused", "token", shown.ID, "host", q.Evidence.Hostname, "error", err)
		return JoinToken{}, refused(shown.ID)
	}
	if err != nil {
		return JoinToken{}, fmt.Errorf("use join token %s: %w", shown.ID, err)
	}
	return token, nil
}

func refused(id string) error {
	return mesh.Errorf(mesh.Denied, "the join token %s is not good: unknown, spent or expired", id).
		WithHint("make another: alps join-token create")
}

// node finds the node that this key and token made before, or makes one.
func (r *Registrar) node(ctx context.Context, token JoinToken, e Evidence, now time.Time) (Node, error) {
	alike, err := r.o.Store.NodesByEvidence(ctx, e)
	if err != nil {
		return Node{}, fmt.Errorf("compare the evidence: %w", err)
	}
	for _, n := range alike {
		if n.Evidence.Key == e.Key && n.TokenID == token.ID {
			if !n.Revocation.At.IsZero() {
				return Node{}, mesh.Errorf(mesh.Denied, "node %s is revoked", n.ID).WithHint("remove the agent's data directory to enrol it as a new node")
			}
			return n, nil
		}
	}
	return Node{
		ID: mesh.NewNodeID(), Evidence: e, Role: token.Role, TokenID: token.ID, EnrolledAt: now, Notes: notes(alike, e),
	}, nil
}

// notes says for people what the evidence has in common with earlier nodes.
// None of it stops an enrolment: images are cloned, and disks are lost.
func notes(alike []Node, e Evidence) []string {
	var out []string
	for _, n := range alike {
		sameMachine := e.MachineID != "" && e.MachineID == n.Evidence.MachineID || e.DMIUUID != "" && e.DMIUUID == n.Evidence.DMIUUID
		sameHost := e.Hostname != "" && e.Hostname == n.Evidence.Hostname
		switch {
		case e.Key == n.Evidence.Key:
			out = append(out, fmt.Sprintf("the key of %s enrolled again with another token", n.ID))
		case sameMachine && sameHost:
			out = append(out, fmt.Sprintf("the machine of %s enrolled again", n.ID))
		case sameMachine:
			out = append(out, fmt.Sprintf("a clone of %s, or another agent on its machine", n.ID))
		case sameHost:
			out = append(out, fmt.Sprintf("has the host name of %s", n.ID))
		}
	}
	if more := len(out) - maxNotes; more > 0 {
		out = append(out[:maxNotes], fmt.Sprintf("and %d more nodes are like it", more))
	}
	return out
}

// certify signs the node's key and remembers until when.
func (r *Registrar) certify(ctx context.Context, n Node, csr []byte, now time.Time) ([]byte, error) {
	cert, err := r.o.CA.SignAgent(csr, pki.Identity{Cluster: r.o.CA.Cluster(), Kind: pki.Agent, NodeID: n.ID}, now)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "%w", err)
	}
	leaf, err := pki.ParseCert(cert)
	if err != nil {
		return nil, fmt.Errorf("read the new certificate: %w", err)
	}
	n.NotAfter = leaf.NotAfter.UTC()
	if err := r.o.Store.SaveNode(ctx, n); err != nil {
		return nil, fmt.Errorf("save node %s: %w", n.ID, err)
	}
	return cert, nil
}

// Renew signs a new certificate for a node that has shown a valid one.
func (r *Registrar) Renew(ctx context.Context, id pki.Identity, csr []byte) ([]byte, error) {
	if id.Kind != pki.Agent || id.Cluster != r.o.CA.Cluster() {
		return nil, mesh.Errorf(mesh.Denied, "%s is not an agent of cluster %q", id, r.o.CA.Cluster())
	}
	n, err := r.o.Store.NodeByID(ctx, id.NodeID)
	switch {
	case mesh.CodeOf(err) == mesh.NotFound:
		return nil, mesh.Errorf(mesh.Denied, "node %s is not in the list of this cluster", id.NodeID).
			WithHint("enrol it again: remove the agent's data directory and give it a join token")
	case err != nil:
		return nil, fmt.Errorf("find node %s: %w", id.NodeID, err)
	case !n.Revocation.At.IsZero():
		return nil, mesh.Errorf(mesh.Denied, "node %s is revoked", id.NodeID)
	}
	return r.certify(ctx, n, csr, time.Now().UTC())
}

// Revoke shuts a node out for good. When it returns, IsRevoked says so; live
// links are the caller's to cut, by OnChange. It may be called twice.
func (r *Registrar) Revoke(ctx context.Context, id mesh.NodeID, by, reason string) error {
	err := r.o.Store.Revoke(ctx, id, Revocation{At: time.Now().UTC(), By: by, Reason: reason})
	if err != nil {
		return fmt.Errorf("revoke node %s: %w", id, err)
	}
	if err := r.Reload(ctx); err != nil {
		return err
	}
	r.o.OnChange(id)
	return nil
}
