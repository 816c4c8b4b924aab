package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"alps/agent/link"
	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/pki"
	"alps/mesh/sign"
)

// pinned is what this node believes: the root key in its file, which may be
// put there or exchanged by hand while the agent runs, and the newest list of
// revocations, which survives a restart.
type pinned struct {
	file    string // of the root key.
	list    string // file of the revocations.
	cluster string

	mu     sync.Mutex
	sealed *sign.Envelope // the newest list as its root sealed it; nil for none.
}

func openPinned(cfg *config.Agent, id *link.Identity) (*pinned, error) {
	p := &pinned{file: cfg.Exec.TrustRoot, list: filepath.Join(cfg.DataDir, "revoked.json"), cluster: id.Cluster()}
	return p, p.load()
}

// load reads the list that an earlier life has kept.
func (p *pinned) load() error {
	doc, err := os.ReadFile(p.list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the revocations: %w", err)
	}
	p.sealed = new(sign.Envelope)
	if err := json.Unmarshal(doc, p.sealed); err != nil {
		return fmt.Errorf("read the revocations %s: %w", p.list, err)
	}
	return nil
}

// root implements exec.Options.Trust. A list that another root has sealed, as
// after the root was exchanged, revokes nothing.
func (p *pinned) root() (sign.Root, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rootLocked()
}

func (p *pinned) rootLocked() (sign.Root, bool) {
	text, err := os.ReadFile(p.file)
	if err != nil {
		return sign.Root{}, false
	}
	key, err := sign.ParsePublicKey(string(text))
	if err != nil {
		return sign.Root{}, false
	}
	root := sign.Root{Key: key, Cluster: p.cluster}
	if p.sealed != nil {
		if next, err := root.Revoke(*p.sealed); err == nil {
			root = next
		}
	}
	return root, true
}

// revoke takes over a list that the root has sealed, if it is newer, and
// keeps it over restarts. The disk comes first: what is in force must be in
// force after a restart.
func (p *pinned) revoke(env sign.Envelope) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	root, ok := p.rootLocked()
	if !ok {
		return mesh.Errorf(mesh.Denied, "revocations cannot be checked: no trust root is installed")
	}
	next, err := root.Revoke(env)
	if err != nil {
		return mesh.Errorf(mesh.Denied, "revocations refused: %w", err)
	}
	if p.sealed != nil && next.Revoked.Number == root.Revoked.Number {
		return nil // nothing new.
	}
	doc, err := json.Marshal(env)
	if err != nil {
		return fmt.Errorf("keep the revocations: %w", err)
	}
	if err := pki.WriteFile(p.list, doc, 0o600); err != nil {
		return fmt.Errorf("keep the revocations: %w", err)
	}
	p.sealed = &env
	return nil
}
