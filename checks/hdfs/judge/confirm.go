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
	volumeTime  = 8 * time.Second
	provokeTime = 25 * time.Second // for a canary, from its first file to the last look.
	lookEvery   = 250 * time.Millisecond
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
		source, dn, no = j.provoke(ctx, a, &m, subject{dn, who, active})
	}
	if no != nil {
		return with(*no, m.seen)
	}
	m.seen["source_2"] = source
	j.hear(ctx, &m, dn, who)
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

// hear waits until the active NameNode has heard, by a heartbeat, that the
// DataNode has given a directory up: which blocks are lost by that it knows from
// then on, and the next question may be whether any is. It waits for no longer
// than for a DataNode, since the count may have been cleared.
func (j *judge) hear(ctx context.Context, m *matter, dn dataNode, who known) {
	if dn.info == nil || len(dn.gaveUp(m.site)) == 0 {
		return
	}
	for end := time.Now().Add(j.Notice); who.live != nil && who.live.VolFails == 0; {
		if time.Now().After(end) || !rest(ctx, lookEvery) {
			m.seen["namenode"] = "it has not heard of a failed volume"
			return
		}
		if now, err := j.JMX.Survey(ctx, m.nns).Active(); err == nil {
			if found, err := dn.identify(ctx, now.Info); err == nil {
				who = found
			}
		}
	}
}

// subject is the DataNode of this node as a canary meets it.
type subject struct {
	dataNode

	known  known
	active *jmx.View // the NameNode that knows it so.
}

// provoke has HDFS use every disk of the DataNode until it notices.
func (j *judge) provoke(ctx context.Context, a checks.Args, m *matter, s subject) (string, dataNode, *mesh.Answer) {
	dn := s.dataNode
	only := "only one source: the system says that " + strings.Join(m.names(), ", ") + " fails, and HDFS does not"
	refuse := func(format string, args ...any) (string, dataNode, *mesh.Answer) {
		no := checks.Refuse(only+"; "+format, args...)
		return "", dn, &no
	}
	switch {
	case dn.info == nil:
		return refuse("the DataNode does not say what it knows: %v", dn.err)
	case a.Get("canary") == "off":
		return refuse("it is not provoked to look, as canary is off")
	case os.Getenv("ALPS_DRY_RUN") == "1":
		return refuse("it is not provoked to look in a dry run, which writes nothing")
	case s.active.Info.Safemode != "":
		return refuse("it cannot be made to look, as safe mode is on")
	}
	c, err := j.newCanary(m, s)
	if err != nil {
		return refuse("%v", err)
	}
	defer func() {
		c.remove(ctx)
		m.seen["canary"] = c.told()
	}()
	within, cancel := context.WithTimeout(ctx, provokeTime)
	defer cancel()
	// Each file is followed by a look: most often it has noticed while the first
	// ones were written.
	for c.next(within) {
		source, found, no := j.noticed(within, m, dn)
		if dn = found; source != "" || no != nil {
			return source, dn, no
		}
	}
	if c.written == 0 && !c.tried {
		return refuse("it could not be made to look: %v", c.failed)
	}
	for end := time.Now().Add(j.Notice); time.Now().Before(end) && rest(within, lookEvery); {
		source, found, no := j.noticed(within, m, dn)
		if dn = found; source != "" || no != nil {
			return source, dn, no
		}
	}
	if c.written == 0 {
		return refuse("it could not be made to look: %v", c.failed)
	}
	return refuse("although files were written that it should have placed there")
}

// noticed asks the DataNode, and of one that has stopped the NameNode, whether
// there is a second source now. Neither a source nor an answer means not yet.
func (j *judge) noticed(ctx context.Context, m *matter, dn dataNode) (string, dataNode, *mesh.Answer) {
	dn = j.ask(ctx, dn.DataNode)
	who := known{live: &jmx.LiveNode{NumBlocks: 1}}
	if dn.down() {
		// It tolerates none and has stopped for good.
		if now, err := j.JMX.Survey(ctx, m.nns).Active(); err == nil {
			if found, err := dn.identify(ctx, now.Info); err == nil {
				who = found
			}
		}
	}
	source, no := m.second(dn, who)
	if no != nil && no.Verdict != mesh.VerdictNo {
		no = nil
	}
	return source, dn, no
}
