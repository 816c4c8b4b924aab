package judge

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// What a DataNode should have become.
const (
	wantDecommissioned = "decommissioned"
	wantMaintenance    = "maintenance"
	wantVolume         = "volume" // in service, without the directory.
)

// stuckAfter is how long nothing may move before a human is called.
const stuckAfter = 10 * time.Minute

// restAfter is how long blocks that lacked copies before must have stood still
// until they are taken for what nobody can copy, such as files that want more
// copies than there are DataNodes: what this remedy has caused moves.
const restAfter = time.Minute

// goal is what proven is asked to prove.
type goal struct {
	key     string
	want    string
	missing int64 // before.
	low     int64
	blocks  int64
	stuck   time.Duration
	copies  int
}

// goalOf reads the question.
func goalOf(s *site.Site, a checks.Args) (goal, error) {
	g := goal{key: a.Get("datanode"), want: cmp.Or(a.Get("want"), wantDecommissioned), stuck: stuckAfter}
	if g.key == "" {
		return g, fmt.Errorf("nobody has said which DataNode is meant: datanode=HOST:PORT, as the NameNode shows it")
	}
	switch g.want {
	case wantDecommissioned, wantMaintenance, wantVolume:
	default:
		return g, fmt.Errorf("want: it is %s, %s or %s, got %q", wantDecommissioned, wantMaintenance, wantVolume, g.want)
	}
	var err error
	for _, n := range []struct {
		name string
		to   *int64
	}{{"missing_before", &g.missing}, {"low_redundancy_before", &g.low}, {"blocks_before", &g.blocks}} {
		if *n.to, err = whole(a, n.name, 0); err != nil {
			return g, err
		}
	}
	if text := a.Get("stuck"); text != "" {
		if g.stuck, err = time.ParseDuration(text); err != nil || g.stuck <= 0 {
			return g, fmt.Errorf("stuck: want a duration such as 10m, got %q", text)
		}
	}
	g.copies, err = s.Replication()
	return g, err
}

// proven says whether a DataNode has left on the NameNode of this node, and
// every block of the cluster has its copies. Two reads in a row must say so,
// since the count of what lacks copies is behind for a moment.
func (j *judge) proven(ctx context.Context, a checks.Args) mesh.Answer {
	s, nns, err := j.site(a)
	if err != nil {
		return checks.Refuse("%v", err)
	}
	g, err := goalOf(s, a)
	if err != nil {
		return checks.Refuse("%v", err)
	}
	own, err := s.Own(ctx)
	if err != nil {
		return checks.Refuse("%v", err)
	}
	if own == nil {
		return checks.Refuse("this node is none of the NameNodes of %s", s.Dir)
	}
	memory := j.memory(a, own.Name(), g)
	was := j.look(ctx, nns, *own, g)
	for { // at most three looks: what has just become so is looked at once more.
		if was.answer.Verdict == mesh.VerdictNo {
			return was.answer
		}
		if !rest(ctx, j.Pause) {
			return with(checks.Wait("there was no time for a second look"), was.answer.Evidence)
		}
		is := j.look(ctx, nns, *own, g)
		switch {
		case is.answer.Verdict == mesh.VerdictNo:
			return is.answer
		case is.answer.Verdict == mesh.VerdictWait:
			return j.waiting(g, was, is, memory)
		case was.answer.Verdict == mesh.VerdictOK:
			memory.forget()
			return is.answer
		}
		was = is
	}
}

// look is one look at all NameNodes.
type look struct {
	answer mesh.Answer
	at     time.Time
	left   int64  // blocks, or -1 when nobody knows yet.
	rests  bool   // all is as wanted but for blocks that lacked copies before.
	state  string // of the DataNode, at the NameNode of this node.
	cause  string // why it may stand still.
}

func (j *judge) look(ctx context.Context, nns []site.NameNode, own site.NameNode, g goal) look {
	e := evidence{"datanode": g.key}
	l := look{at: time.Now(), left: -1}
	survey, active, no := j.see(ctx, nns, e)
	if no != nil {
		l.answer, l.cause = *no, no.Reason
		return l
	}
	mine := active
	for i := range survey {
		if survey[i].NameNode == own {
			mine = &survey[i]
		}
	}
	state, lives := mine.Info.AdminState(g.key)
	l.state = string(state)
	e["state"] = l.state
	ofActive, _ := active.Info.AdminState(g.key)
	e["state of the active"] = string(ofActive)
	e["lives"] = fmt.Sprint(lives)
	if lost(active.Info) > g.missing {
		l.answer = loss(active.Info, e)
		return l
	}
	l.left = left(active, g)
	l.cause = g.cause(active)
	l.answer = g.verdict(mine, active, e)
	if g.want == wantMaintenance && (!lives || !j.runs(ctx, active.Info.Live[g.key].InfoAddr)) {
		l.answer = with(checks.Refuse("the DataNode has stopped: in maintenance nothing of it would be copied"), e)
	}
	wanted, _ := g.states()
	l.rests = l.state == string(wanted) && lost(active.Info) == 0 && low(active) > 0 && low(active) <= g.low
	return l
}

// left is how many blocks must still be copied, -1 when nobody has counted them
// yet: right after the DataNode was told to leave there is a zero that means
// nothing.
func left(v *jmx.View, g goal) int64 {
	if n, ok := v.Info.Leaving[g.key]; ok {
		if n.UnderReplicatedBlocks == 0 {
			return -1
		}
		return n.UnderReplicatedBlocks
	}
	return low(v)
}

// verdict compares what the NameNode of this node and the active one say with
// the goal.
func (g goal) verdict(mine, active *jmx.View, e evidence) mesh.Answer {
	state, lives := mine.Info.AdminState(g.key)
	wanted, path := g.states()
	switch {
	case state == "":
		return with(checks.Wait("%s does not know the DataNode %s", mine.NameNode.Name(), g.key), e)
	case state != wanted && state != path:
		return with(checks.Refuse("%s shows the DataNode as %q: it has been taken back", mine.NameNode.Name(), state), e)
	case g.want == wantVolume && !lives:
		return with(checks.Refuse("the DataNode has died since"), e)
	case state != wanted && !lives:
		return with(checks.Wait("the DataNode has died while it was leaving; it stays %q until it lives again", state), e)
	case state != wanted:
		return with(checks.Wait("the DataNode is %q", state), e)
	case lost(active.Info) > 0:
		return loss(active.Info, e)
	case low(active) > 0:
		return with(checks.Wait("%d blocks still lack copies", low(active)), e)
	}
	return with(mesh.Answer{Verdict: mesh.VerdictOK}, e)
}

// states are the state that is wanted, and the one on the way to it.
func (g goal) states() (wanted, path jmx.AdminState) {
	switch g.want {
	case wantMaintenance:
		return jmx.InMaintenance, jmx.EnteringMaint
	case wantVolume:
		return jmx.InService, jmx.InService
	default:
		return jmx.Decommissioned, jmx.Decommissioning
	}
}

// cause names what may keep blocks from being copied.
func (g goal) cause(v *jmx.View) string {
	var stay, free int64
	for k, n := range v.Info.Live {
		if k != g.key && n.AdminState == jmx.InService {
			stay++
			free += n.Remaining
		}
	}
	n, leaving := v.Info.Leaving[g.key]
	_, lives := v.Info.AdminState(g.key)
	switch {
	case v.Info.Safemode != "":
		return "the NameNode is in safe mode"
	case g.want != wantVolume && stay < int64(g.copies):
		return fmt.Sprintf("%d DataNodes are in service, and a block has %d copies", stay, g.copies)
	case leaving && !lives:
		return "the DataNode died while it was leaving"
	case leaving && n.UnderReplicateInOpenFiles > 0:
		return "files are open: hdfs dfsadmin -listOpenFiles -blockingDecommission"
	case free < v.Info.Live[g.key].Used:
		return "there is no space for the copies on the other DataNodes"
	case v.System.NumStaleStorages > 0:
		return "DataNodes have not reported their blocks since the failover"
	case v.System.NumStaleDataNodes > 0:
		return "DataNodes are stale"
	}
	return "nobody knows: look for files with more copies than there are racks or DataNodes (hdfs fsck / -files -blocks -racks)"
}

// waiting is the answer wait, with how far it is; or no, when nothing has moved
// for too long.
func (j *judge) waiting(g goal, first, second look, memory *memory) mesh.Answer {
	a := second.answer
	p := &mesh.Progress{State: second.state, Left: second.left, Total: g.blocks, Unit: "blocks"}
	if second.left < 0 {
		p.Left = g.blocks
	}
	if first.left > second.left && second.left >= 0 {
		if passed := second.at.Sub(first.at).Seconds(); passed > 0 {
			p.Rate = float64(first.left-second.left) / passed
		}
	}
	p.Total = max(p.Total, p.Left)
	a.Progress = p
	still := memory.still(fmt.Sprintf("%s %d", second.state, second.left), second.at)
	if second.rests && still >= restAfter {
		memory.forget()
		a.Verdict, a.Reason = mesh.VerdictOK, fmt.Sprintf("%d blocks lacked copies before, and still do", second.left)
		return a
	}
	if still >= g.stuck {
		a.Verdict, a.Reason = mesh.VerdictNo, fmt.Sprintf("stuck: nothing has moved for %s: %s; %s", g.stuck, second.cause, a.Reason)
	}
	return a
}

// memory is the memory of one question over several calls.
func (j *judge) memory(a checks.Args, namenode string, g goal) *memory {
	dir := j.Memory
	if dir == "" {
		dir = memoryDir(os.Geteuid())
	}
	return newMemory(dir, os.Getenv("ALPS_RUN"), namenode, g.key, g.want, a.Get("conf"))
}
