package wire

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/sign"
	"alps/server/job"
)

// trust is what the server knows of the keys that decide what nodes run.
type trust struct {
	mu      sync.Mutex
	pinned  sign.Root
	own     *job.Signer
	revoked *sign.Envelope // the list as the root has sealed it, nil for none.
}

// AgentConfig is what a server sends to an agent at the beginning of each
// link, and when it changes: the payload of frame.Config.
type AgentConfig struct {
	Revoked *sign.Envelope `json:"revoked,omitempty"`
	// Settings is the node's effective configuration, whole; nil says nothing
	// of it.
	Settings *[]mesh.Setting `json:"settings,omitempty"`
}

// readTrust reads the files that the config names. Without a root nothing can
// be run; without a key of its own the server needs an operator's signature
// for every job.
func readTrust(cfg *config.Server, now time.Time) (*trust, error) {
	t := &trust{pinned: sign.Root{Cluster: cfg.Cluster}}
	if cfg.Keys.Root == "" {
		return t, nil
	}
	text, err := os.ReadFile(cfg.Keys.Root)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read keys.root: %w", err).WithHint("alps keys init DIR")
	}
	if t.pinned.Key, err = sign.ParsePublicKey(string(text)); err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "keys.root %s: %w", cfg.Keys.Root, err)
	}
	if err := t.readRevoked(cfg.Keys.Revoked); err != nil {
		return nil, err
	}
	if cfg.Keys.ServerKey == "" {
		return t, nil
	}
	t.own, err = readSigner(cfg, t.pinned, now)
	return t, err
}

// readRevoked takes over the list in a file, if it is newer. One that is not,
// and is not the one in force, is refused: no node would follow it, and
// whoever wrote it believes that something is revoked.
func (t *trust) readRevoked(path string) error {
	if path == "" || t.pinned.Key.IsZero() {
		return nil
	}
	doc, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was revoked yet.
	}
	if err != nil {
		return mesh.Errorf(mesh.Invalid, "read keys.revoked: %w", err)
	}
	env, err := sign.DecodeEnvelope(doc)
	if err != nil {
		return mesh.Errorf(mesh.Invalid, "keys.revoked %s: %w", path, err)
	}
	root, err := t.pinned.Revoke(env)
	if err != nil {
		return mesh.Errorf(mesh.Invalid, "keys.revoked %s: %w", path, err)
	}
	if root.Revoked.Number > t.pinned.Revoked.Number {
		t.pinned, t.revoked = root, &env
	}
	if t.revoked == nil || !bytes.Equal(env.Payload, t.revoked.Payload) {
		return mesh.Errorf(mesh.Conflict, "keys.revoked %s: the list is not newer than list %d, which is in force", path, t.pinned.Revoked.Number).
			WithHint("sign it again with a higher number: alps keys revoke --number %d", t.pinned.Revoked.Number+1)
	}
	return nil
}

// readSigner reads the server's own key and grant, and refuses a pair that
// does not belong together or to the root. A grant whose time is over, or that
// was revoked, is none of that: the server starts all the same, says for each
// job why an operator's key must sign, and hands out the revocations.
func readSigner(cfg *config.Server, root sign.Root, now time.Time) (*job.Signer, error) {
	text, err := os.ReadFile(cfg.Keys.ServerKey)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read keys.server_key: %w", err)
	}
	key, err := sign.ParsePrivateKey(string(text))
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "keys.server_key %s: %w", cfg.Keys.ServerKey, err)
	}
	doc, err := os.ReadFile(cfg.Keys.Grant)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read keys.grant: %w", err)
	}
	env, err := sign.DecodeEnvelope(doc)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "keys.grant %s: %w", cfg.Keys.Grant, err)
	}
	g, err := root.OpenGrant(&env, now)
	if errors.Is(err, sign.ErrExpired) || errors.Is(err, sign.ErrRevoked) {
		g, err = env.GrantUnverified() // the root has signed it: that was looked at first.
	}
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "keys.grant %s: %w", cfg.Keys.Grant, err).WithHint("alps keys grant --help")
	}
	if g.Key != key.Public() {
		return nil, mesh.Errorf(mesh.Invalid, "keys.grant %s is for the key %s, keys.server_key is %s", cfg.Keys.Grant, g.Key.ID(), key.Public().ID())
	}
	return &job.Signer{Key: key, Grant: env}, nil
}

// reload reads the revocations again: a new list is in force at once. A list
// that is not newer changes nothing, and a bad one is refused. It reports
// whether anything has changed.
func (t *trust) reload(cfg *config.Server) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.pinned.Revoked.Number
	err := t.readRevoked(cfg.Keys.Revoked)
	return t.pinned.Revoked.Number > was, err
}

// root implements job.Options.Root.
func (t *trust) root() sign.Root {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pinned
}

func (t *trust) signer() *job.Signer { return t.own }

// expired says why the server's own grant is not good any more, nil when it
// is, or when there is none.
func (t *trust) expired(now time.Time) error {
	if t.own == nil {
		return nil
	}
	_, err := t.root().OpenGrant(&t.own.Grant, now)
	return err
}

// rootText is the root key as new nodes are told it, empty for none.
func (t *trust) rootText() string {
	if t.pinned.Key.IsZero() {
		return ""
	}
	return t.pinned.Key.String()
}

// revocations is the list as the root has sealed it, nil for none.
func (t *trust) revocations() *sign.Envelope {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.revoked
}
