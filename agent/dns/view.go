package dns

import (
	"time"

	"alps/mesh"
	"alps/mesh/zone"
)

const (
	// staleAfter is how long a view is good without anybody who keeps it up
	// to date: a server that restarts is back by then.
	staleAfter = time.Minute
	// staleTTL is the most seconds that a stale answer may be kept.
	staleTTL = 5
	// tickInterval is how often it is looked whether a server is there.
	tickInterval = 10 * time.Second
)

// Source says where a view comes from.
type Source string

// The sources. SourceNone means that there has never been a view here.
const (
	SourceNone   Source = "none"
	SourceDisk   Source = "disk"
	SourceServer Source = "server"
)

// view is what is answered from at one moment. It does not change; another
// one takes its place, under another number.
type view struct {
	gen    uint64
	zone   *zone.Zone
	source Source
	heard  time.Time // when somebody last vouched for it; zero: not since the start.
	stale  bool
}

// Apply takes a payload of frame.Zone. Documents of one update take effect
// together, when the last one has come. Names are answered by the new state
// when Apply returns.
//
// The error is mesh.Invalid for a payload that is none, and for an update that
// would leave nothing of a view that was not empty. It is mesh.Conflict when
// the state that an update has led to is not the one that the server means:
// send Have again. Apply may be called again with the same payload.
func (s *Server) Apply(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, done, err := s.stage.Add(payload)
	if err != nil || !done {
		return err
	}
	old := s.view.Load()
	next := old.zone.Apply(u)
	if next.Empty() && !old.zone.Empty() {
		return mesh.Errorf(mesh.Invalid, "dns: the server's update leaves none of %d nodes and %d services: it is not believed", old.zone.Nodes(), old.zone.Services()).
			WithHint("if all of them are really gone: stop the agent, delete its copy of the zone, start it")
	}
	if u.Sum != 0 && next.Sum() != u.Sum {
		s.takePart(old, next, u)
		return mesh.Errorf(mesh.Conflict, "dns: the view differs from the server's after update %d", u.Serial)
	}
	if old.source != SourceServer || old.stale {
		s.log.Info("a server keeps the names up to date", "serial", u.Serial, "nodes", next.Nodes(), "services", next.Services())
	}
	s.swap(view{zone: next, source: SourceServer, heard: time.Now()})
	if u.Changes() || old.source != SourceServer {
		s.markDirty()
	}
	return nil
}

// takePart takes over an update whose result is not what the server means:
// what has changed is better known than not, but nobody vouches for the rest.
// To a view that is empty it would be all there is, and every other name
// would seem not to exist. The caller holds mu.
func (s *Server) takePart(old *view, next *zone.Zone, u zone.Update) {
	if old.zone.Empty() || !u.Changes() {
		return
	}
	s.swap(view{zone: next, source: old.source, heard: old.heard, stale: old.stale})
	s.markDirty()
}

// swap puts a view in place. The caller holds mu.
func (s *Server) swap(v view) {
	v.gen = s.view.Load().gen + 1
	s.view.Store(&v)
}

// Have returns a payload for frame.Have: what this agent holds. It is due on
// every new link, after Apply has said mesh.Conflict, and at any time.
func (s *Server) Have() []byte { return s.view.Load().zone.Have(s.o.DC).Encode() }

// Zone returns what is answered from now.
func (s *Server) Zone() *zone.Zone { return s.view.Load().zone }

// refresh looks whether somebody keeps the view up to date.
func (s *Server) refresh(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := *s.view.Load()
	switch {
	case v.source == SourceNone:
		return
	case v.source == SourceServer && s.o.Linked():
		v.heard = now
	}
	stale := now.Sub(v.heard) > staleAfter
	if stale != v.stale {
		v.stale = stale
		if stale {
			s.log.Warn("no server keeps the names up to date: answering from what is known", "serial", v.zone.Serial())
		} else {
			s.log.Info("a server keeps the names up to date again", "serial", v.zone.Serial())
		}
		s.swap(v)
		return
	}
	s.view.Store(&v) // the same answers under the same number.
}

// age is how long nobody has vouched for the view. It counts from when the
// builder made it where that is all that is known.
func (v *view) age(now time.Time) time.Duration {
	since := v.heard
	if since.IsZero() {
		since = v.zone.Built()
	}
	if since.IsZero() || now.Before(since) {
		return 0
	}
	return now.Sub(since)
}
