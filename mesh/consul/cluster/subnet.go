package cluster

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"alps/mesh"
)

// reservation holds a subnet for one cluster, among all the clusters that
// this user has on the machine. It is a lock on one byte of a shared file,
// byte x*256+y for 127.x.y: the kernel drops it when the holder dies, however
// it dies, and nothing is left to tidy.
type reservation struct {
	subnet string // "127.x.y".
	file   *os.File
}

// reserve takes a subnet, or fails with a mesh.Conflict if another cluster
// has it.
func reserve(subnet string) (*reservation, error) {
	ip, err := netip.ParseAddr(subnet + ".1")
	if err != nil || !ip.Is4() || !ip.IsLoopback() {
		return nil, mesh.Errorf(mesh.Invalid, "subnet %q is not the first three numbers of a loopback address", subnet).
			WithHint("write it as 127.20.7")
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("alps-subnets-%d.lock", os.Getuid()))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("reserve the subnet %s: %w", subnet, err)
	}
	b := ip.As4()
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{
		Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(b[1])<<8 | int64(b[2]), Len: 1,
	})
	if err != nil {
		_ = f.Close() // was only opened for the lock.
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("reserve the subnet %s: %w", subnet, err)
		}
		return nil, mesh.Errorf(mesh.Conflict, "reserve the subnet %s: another cluster of this user has it", subnet).
			WithHint("stop that one, or choose another subnet")
	}
	return &reservation{subnet: subnet, file: f}, nil
}

// release gives the subnet back.
func (r *reservation) release() error {
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("release the subnet %s: %w", r.subnet, err)
	}
	return nil
}

// randomSubnet picks from the range that is kept for clusters which do not
// care: 127.32 to 127.250. What people type by hand lies below.
func randomSubnet() string {
	return fmt.Sprintf("127.%d.%d", 32+rand.IntN(219), rand.IntN(256))
}
