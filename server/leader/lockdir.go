package leader

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"alps/mesh"
)

// LockDir makes this process the only server that uses a data directory, until
// the returned func is called or the process ends, however it ends. It is
// mesh.Conflict when another process has it.
func LockDir(dir string) (unlock func() error, err error) {
	path := filepath.Join(dir, "server.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "lock data_dir: %w", err)
	}
	// A descriptor that a child has inherited would keep the lock: Go opens
	// files so that no child does.
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f.Close, nil
	}
	err = errors.Join(err, f.Close())
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, mesh.Errorf(mesh.Conflict, "lock data_dir %s: another server uses it", dir).
			WithHint("stop it, or give this one a data_dir of its own; who has it: fuser %s", path)
	}
	return nil, mesh.Errorf(mesh.Invalid, "lock data_dir %s: %w", dir, err)
}
