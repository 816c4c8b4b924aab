package host

import (
	"cmp"
	_ "embed" // pack.hcl is part of the binary.
	"os"
	"path/filepath"
	"time"

	"alps/checks"
)

//go:embed pack.hcl
var definitions string

// Options say where to look.
type Options struct {
	// Root is the directory that holds proc; empty means "/".
	Root string
	// Skew returns how far this node's clock is ahead of the server's, and
	// whether that is known. Nil means that it never is.
	Skew func() (time.Duration, bool)

	usage  func(path string) (usage, error)
	synced func() (bool, error)
}

// New makes the pack. It looks at nothing yet.
func New(o Options) (checks.Pack, error) {
	o.Root = cmp.Or(o.Root, "/")
	if o.usage == nil {
		o.usage = statfs
	}
	if o.synced == nil {
		o.synced = kernelSynced
	}
	t := tree(o.Root)
	asker := newAsker(o.usage)
	return checks.NewPack("host", definitions, map[string]checks.Probe{
		"disk":      &disk{tree: t, asker: asker},
		"inodes":    &inodes{tree: t, asker: asker},
		"memory":    memory{t},
		"load":      load{t},
		"processes": processes{t},
		"clock":     clock{skew: o.Skew, synced: o.synced},
	})
}

// tree is the root of the files that are read.
type tree string

// text reads a file that the kernel makes up: small, and never waiting.
func (t tree) text(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(string(t), name))
	return string(b), err
}
