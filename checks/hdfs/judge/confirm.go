package judge

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/checks/hdfs/volume"
	"alps/mesh"
)

// Times of confirm: together less than the script's timeout.
const (
	volumeTime = 8 * time.Second
	noticeTime = 10 * time.Second // for the DataNode to notice a canary.
	lookEvery  = 500 * time.Millisecond
)

// matter is one question of confirm: what was found of whom.
type matter struct {
	site   *site.Site
	nns    []site.NameNode
	failed []volume.Report // by the system.
	works  []string        // directories that work.
	dirs   int             // in all.
	seen   evidence
}

// confirm says whether a disk of the DataNode of this node has failed, by what
// the system says now and by a second source, and who the DataNode is.
func (j *judge) confirm(ctx context.Context, a checks.Args) mesh.Answer {
	s, nns, err := j.site(a)
	if err != nil {
		return checks.Refuse("%v", err)
	}
	conf, err := s.DataNode()
	if err != nil {
		return checks.Refuse("%v", err)
	}
	m := matter{site: s, nns: nns, seen: make(evidence)}
	if no := j.tryDisks(ctx, &m); no != nil {
		return with(*no, m.seen)
	}
	survey := j.JMX.Survey(ctx, nns)
	active, err := survey.Active()
	if err != nil {
		return with(checks.Wait("%v", err), m.seen)
	}
	dn := j.ask(ctx, conf)
	who, err := dn.identify(ctx, active.Info)
	if err != nil {
		return with(checks.Refuse("%v", err), m.seen)
	}
	source, no := m.second(dn, who)
	if source == "" && no == nil {
		source, dn, no = j.provoke(ctx, a, &m, active, dn)
	}
	if no != nil {
		return with(*no, m.seen)
	}
	m.seen["source_2"] = source
	answer := with(mesh.Answer{Verdict: mesh.VerdictOK}, m.seen)
	answer.Facts = dn.facts(who, m.works)
	answer.Facts["volumes"] = strings.Join(m.names(), ",")
	return answer
}

// tryDisks is the first source. The answer is what to say when no disk fails.
func (j *judge) tryDisks(ctx context.Context, m *matter) *mesh.Answer {
	dirs, err := m.site.DataDirs()
	if err != nil {
		no := checks.Refuse("%v", err)
		return &no
	}
	q := volume.Query{Timeout: volumeTime}
	for _, d := range dirs {
		q.Dirs = append(q.Dirs, d.Path)
	}
	m.dirs = len(dirs)
	for _, r := range j.Volumes.Look(ctx, q) {
		var texts []string
		unknown := false
		for _, p := range r.Problems {
			texts = append(texts, p.Text)
			unknown = unknown || p.Health == mesh.HealthUnknown
		}
		m.seen["volume "+r.Dir] = strings.Join(texts, "; ")
		switch {
		case r.Failed():
			m.failed = append(m.failed, r)
		case unknown:
			no := checks.Refuse("nobody can say how %s is: %s", r.Dir, strings.Join(texts, "; "))
			return &no
		default:
			m.seen["volume "+r.Dir] = "works"
			m.works = append(m.works, r.Dir)
		}
	}
	if len(m.failed) == 0 {
		no := checks.Refuse("no disk fails now: %d directories of the DataNode can be written to and read", m.dirs)
		return &no
	}
	m.seen["source_1"] = "a write to " + strings.Join(m.names(), ", ")
	return nil
}

// names are the directories that have failed.
func (m *matter) names() []string {
	var out []string
	for _, r := range m.failed {
		out = append(out, r.Dir)
	}
	return out
}

// second looks for a second source: the DataNode has given the same directory
// up, or has stopped because of it; or the kernel, or the disk itself, says so.
// An answer means that what it sees contradicts the first.
func (m *matter) second(dn dataNode, who known) (string, *mesh.Answer) {
	if dn.info != nil {
		gone := dn.gaveUp(m.site)
		m.seen["datanode_failed_volumes"] = strings.Join(gone, ",")
		for _, dir := range gone {
			if slices.Contains(m.names(), dir) {
				return "the DataNode has given up " + dir, nil
			}
		}
		if len(gone) > 0 {
			no := checks.Refuse("the sources disagree: the system says that %s fails, and the DataNode has given up %s", strings.Join(m.names(), ", "), strings.Join(gone, ", "))
			return "", &no
		}
	} else {
		m.seen["datanode"] = dn.err.Error()
	}
	for _, r := range m.failed {
		for _, p := range r.Problems {
			if p.Kernel || p.Disk && len(r.Problems) > 1 {
				return r.Dir + ": " + p.Text, nil
			}
		}
	}
	if !dn.down() {
		return "", nil
	}
	return m.stopped(who)
}

// stopped judges a DataNode whose process is gone. One that stops because of
// its disks says so to the NameNode, which forgets its blocks at once; of one
// that was killed it still believes in all of them.
func (m *matter) stopped(who known) (string, *mesh.Answer) {
	tolerated, err := m.site.FailedVolumesTolerated()
	if err != nil {
		no := checks.Refuse("%v", err)
		return "", &no
	}
	if tolerated < 0 {
		tolerated = m.dirs - 1
	}
	if len(m.failed) <= tolerated {
		no := checks.Refuse("only one source: the DataNode is down, but not because of %s, as it tolerates %d failed volumes", strings.Join(m.names(), ", "), tolerated)
		return "", &no
	}
	switch {
	case who.live == nil:
		return "the DataNode has stopped, which tolerates no such failure, and the NameNode takes it for dead", nil
	case who.live.VolFails > 0 || who.live.NumBlocks == 0:
		return "the DataNode has stopped, which tolerates no such failure, and the NameNode has dropped its blocks", nil
	}
	wait := checks.Wait("the DataNode is down, and the NameNode has not noticed yet")
	return "", &wait
}

// gaveUp lists the configured directories that a DataNode does not use.
func (d dataNode) gaveUp(s *site.Site) []string {
	dirs, err := s.DataDirs()
	if err != nil {
		return nil
	}
	var out []string
	for _, dir := range dirs {
		if _, ok := d.info.Volumes[dir.Path]; !ok || slices.Contains(d.set.FailedVolumes, dir.Path) {
			out = append(out, dir.Path)
		}
	}
	return out
}

// provoke has HDFS use every disk of the DataNode, and waits for it to notice.
func (j *judge) provoke(ctx context.Context, a checks.Args, m *matter, active *jmx.View, dn dataNode) (string, dataNode, *mesh.Answer) {
	only := "only one source: the system says that " + strings.Join(m.names(), ", ") + " fails, and HDFS does not"
	refuse := func(format string, args ...any) *mesh.Answer {
		no := checks.Refuse(only+"; "+format, args...)
		return &no
	}
	switch {
	case dn.info == nil:
		return "", dn, refuse("the DataNode does not say what it knows: %v", dn.err)
	case a.Get("canary") == "off":
		return "", dn, refuse("it is not provoked to look, as canary is off")
	case os.Getenv("ALPS_DRY_RUN") == "1":
		return "", dn, refuse("it is not provoked to look in a dry run, which writes nothing")
	case active.Info.Safemode != "":
		return "", dn, refuse("it cannot be made to look, as safe mode is on")
	}
	c, err := j.release(ctx, m, len(active.Info.Live))
	if err != nil {
		return "", dn, refuse("it could not be made to look: %v", err)
	}
	defer c.remove(ctx)
	m.seen["canary"] = c.told()
	// The first look is at once: it may have noticed while files were written.
	for end, more := time.Now().Add(noticeTime), true; more; more = time.Now().Before(end) && rest(ctx, lookEvery) {
		dn = j.ask(ctx, dn.DataNode)
		who := known{live: &jmx.LiveNode{NumBlocks: 1}}
		if survey := j.JMX.Survey(ctx, m.nns); dn.down() {
			// It tolerates none and has stopped for good.
			if now, err := survey.Active(); err == nil {
				if found, err := dn.identify(ctx, now.Info); err == nil {
					who = found
				}
			}
		}
		source, no := m.second(dn, who)
		if source != "" || no != nil && no.Verdict == mesh.VerdictNo {
			return source, dn, no
		}
	}
	return "", dn, refuse("although files were written that it should have placed there")
}
