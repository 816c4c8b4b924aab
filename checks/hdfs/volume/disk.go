package volume

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"alps/mesh/procfs"
)

// resolveTime is how long the links of a path may take to follow.
const resolveTime = 2 * time.Second

// Disks returns what checks call the disk that each directory lies on, in their
// order: the block device as the kernel names it, or the mount point where there
// is none. It is "" where nobody can say. All checks of a node ask here, so that
// one disk has one name. It writes nothing.
func (v *Prober) Disks(ctx context.Context, dirs []string) []string {
	mounts, err := os.ReadFile(v.path("proc/self/mountinfo"))
	if err != nil {
		return make([]string, len(dirs))
	}
	names := make([]string, len(dirs))
	slots := make(chan struct{}, maxAtOnce)
	var wg sync.WaitGroup
	for i, dir := range dirs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			names[i] = v.disk(ctx, string(mounts), dir)
		})
	}
	wg.Wait()
	return names
}

// disk names the disk of one directory.
func (v *Prober) disk(ctx context.Context, mounts, dir string) string {
	path, known := v.follow(ctx, dir)
	m, ok := procfs.MountOf(mounts, path)
	// What hangs and seems to lie on / may be a link to anywhere.
	if !ok || !known && m.Point == "/" {
		return ""
	}
	if d := v.deviceOf(m.Device); d.Name != "" {
		return d.Name
	}
	if source, ok := strings.CutPrefix(m.Source, "/dev/"); ok && source != "" {
		return filepath.Base(source) // of btrfs, or a disk that was pulled out.
	}
	return m.Point
}

// follow returns a path without symbolic links, whether or not it exists. A
// program of its own does that, as a lookup on a dead disk may never end; when
// it does not, the path is returned as it was, and false.
func (v *Prober) follow(ctx context.Context, path string) (string, bool) {
	tctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	out, err := v.spawn.output(tctx, "readlink "+path, []string{"readlink", "--canonicalize-missing", "--no-newline", "--", path})
	if err != nil || !filepath.IsAbs(string(out)) {
		return path, false
	}
	return string(out), true
}
