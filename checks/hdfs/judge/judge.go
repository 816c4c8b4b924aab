package judge

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/checks/hdfs/volume"
	"alps/checks/hdfs/webhdfs"
	"alps/mesh"
)

// Options say whom to ask.
type Options struct {
	Conf    string // the directory of Hadoop's configuration; empty: site.Dir.
	JMX     *jmx.Client
	WebHDFS *webhdfs.Client
	Volumes *volume.Prober
	// Pause lies between two reads that must agree; zero means two seconds.
	Pause time.Duration
	// Notice is how long a DataNode may take to notice a disk that it has written
	// to, and a NameNode to hear of it; zero means eight seconds.
	Notice time.Duration
	// Memory is the directory in which proven remembers how far it was; empty
	// means one of this user's own.
	Memory string
}

// judge is what the judges share.
type judge struct{ Options }

// All returns the judges of the pack, by name.
func All(o Options) map[string]checks.Judge {
	o.Pause = cmp.Or(o.Pause, 2*time.Second)
	o.Notice = cmp.Or(o.Notice, 8*time.Second)
	j := &judge{o}
	return map[string]checks.Judge{
		"confirm":      {Keys: []string{"conf", "canary"}, Ask: j.confirm},
		"volume-guard": {Keys: []string{"conf", "volumes"}, Ask: j.volumeGuard},
		"may-leave":    {Keys: []string{"conf", "datanode", "want"}, Ask: j.mayLeave},
		"proven":       {Keys: []string{"conf", "datanode", "want", "missing_before", "low_redundancy_before", "blocks_before", "stuck"}, Ask: j.proven},
	}
}

// site reads the configuration that is meant. Several nameservices are refused:
// a DataNode would have to leave each of them.
func (j *judge) site(a checks.Args) (*site.Site, []site.NameNode, error) {
	s, err := site.Load(cmp.Or(a.Get("conf"), j.Conf))
	if err != nil {
		return nil, nil, err
	}
	if err := s.Alone(); err != nil {
		return nil, nil, err
	}
	if err := s.Readable(); err != nil {
		return nil, nil, err
	}
	nns, err := s.NameNodes()
	return s, nns, err
}

// evidence gathers what an answer leans on.
type evidence map[string]string

func (e evidence) number(name string, v int64) { e[name] = strconv.FormatInt(v, 10) }

// with adds evidence to an answer.
func with(a mesh.Answer, e evidence) mesh.Answer {
	a.Evidence = e
	return a
}

// see asks all NameNodes. The answer is what to say when they do not all
// answer, or do not agree on who is active; then it is not nil.
func (j *judge) see(ctx context.Context, nns []site.NameNode, e evidence) (jmx.Survey, *jmx.View, *mesh.Answer) {
	survey := j.JMX.Survey(ctx, nns)
	for _, v := range survey {
		e["namenode "+v.NameNode.Name()] = v.Status.State
		if v.Err != nil {
			e["namenode "+v.NameNode.Name()] = v.Err.Error()
		}
	}
	active, err := survey.Active()
	silent := survey.Silent()
	switch {
	case err != nil && len(silent) == 0:
		a := with(checks.Refuse("%v", err), e)
		return nil, nil, &a
	case len(silent) > 0:
		var texts []string
		for _, v := range silent {
			texts = append(texts, fmt.Sprintf("%s: %v", v.NameNode.Name(), v.Err))
		}
		a := with(checks.Wait("not every NameNode says what it knows: %s", strings.Join(texts, "; ")), e)
		return nil, nil, &a
	}
	i := active.Info
	e.number("missing_blocks", lost(i))
	e.number("blocks", active.System.BlocksTotal)
	e.number("low_redundancy", low(active))
	e.number("stale", active.System.NumStaleDataNodes)
	e.number("live", int64(len(i.Live)))
	e.number("dead", int64(len(i.Dead)))
	if i.Safemode != "" {
		e["safe_mode"] = i.Safemode
	}
	return survey, active, nil
}

// lost is how many blocks have no good copy left, those of one copy included.
func lost(i *jmx.NameNodeInfo) int64 { return max(i.Missing, i.MissingReplOne) }

// low is how many blocks have too few copies: those that wait for their turn,
// and those whose copy is under way, which HDFS counts apart.
func low(v *jmx.View) int64 {
	return v.System.UnderReplicatedBlocks + max(0, v.System.PendingReplicationBlocks)
}

// loss is the answer when blocks are gone.
func loss(i *jmx.NameNodeInfo, e evidence) mesh.Answer {
	return with(checks.Refuse("loss: %d blocks are missing, of which %d should have one copy only; a human must look, do not wipe the disk: it may hold the last copy",
		lost(i), i.MissingReplOne), e)
}

// whole reads a number that an earlier step has found; nothing means standard.
func whole(a checks.Args, name string, standard int64) (int64, error) {
	text := a.Get(name)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: want a whole number, got %q", name, text)
	}
	return n, nil
}

// rest waits, and reports whether there is still time.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
