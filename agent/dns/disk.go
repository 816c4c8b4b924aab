package dns

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"alps/mesh/pki"
	"alps/mesh/zone"
)

const (
	copyFile = "zone"
	// saveInterval lies between two writes of the copy: names that change all
	// the time must not wear out a disk.
	saveInterval = 5 * time.Second
)

// load begins with the copy on the disk, if there is one.
func (s *Server) load() error {
	if s.o.Dir == "" {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(s.o.Dir, copyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	z, err := zone.Decode(b)
	if err != nil {
		return err
	}
	s.view.Store(&view{gen: 1, zone: z, source: SourceDisk, stale: true})
	return nil
}

// markDirty has the copy written soon. The caller need not wait.
func (s *Server) markDirty() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// saveLater writes the copy and then rests, so that what changes meanwhile is
// written once. It reports false when ctx has ended; then the last state is on
// the disk.
func (s *Server) saveLater(ctx context.Context) bool {
	s.save()
	rest := time.NewTimer(saveInterval)
	defer rest.Stop()
	select {
	case <-ctx.Done():
		s.save()
		return false
	case <-rest.C:
		return true
	}
}

// save writes the copy. It is best effort: without it the next start waits for
// a server.
func (s *Server) save() {
	v := s.view.Load()
	if s.o.Dir == "" || v.source != SourceServer {
		return
	}
	err := os.MkdirAll(s.o.Dir, 0o700)
	if err == nil {
		err = pki.WriteFile(filepath.Join(s.o.Dir, copyFile), v.zone.Encode(), 0o600)
	}
	if err != nil {
		s.log.Warn("the names cannot be copied to the disk", "error", err)
	}
}
