package judge

import (
	"context"
	"fmt"
	"strconv"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// Limits of may-leave, in percent.
const (
	maxLow  = 1  // of all blocks may lack copies, and fewLow always.
	maxFill = 80 // of what is free elsewhere may be needed.
	maxAway = 10 // of the DataNodes may be away, and one always.
)

// fewLow is how many blocks may lack copies in a small cluster: those of the
// broken disk do already, and are copied in seconds.
const fewLow = 1000

// staleAge is when a NameNode takes a DataNode for stale, in seconds.
const staleAge = 30

// mayLeave says whether HDFS can do without a DataNode: its blocks are safe
// now, there is room for them elsewhere, and not too much is going on.
func (j *judge) mayLeave(ctx context.Context, a checks.Args) mesh.Answer {
	s, nns, err := j.site(a)
	if err != nil {
		return checks.Refuse("%v", err)
	}
	key := a.Get("datanode")
	if key == "" {
		return checks.Refuse("nobody has said which DataNode is meant: datanode=HOST:PORT, as the NameNode shows it")
	}
	e := evidence{"datanode": key}
	survey, active, no := j.see(ctx, nns, e)
	if no != nil {
		return *no
	}
	floor, no := j.floor(ctx, s, active, e)
	if no != nil {
		return with(*no, e)
	}
	for _, v := range survey {
		if state, _ := v.Info.AdminState(key); state == "" {
			if v.Status.State == jmx.StateActive {
				return with(checks.Refuse("the active NameNode knows no DataNode %s", key), e)
			}
			return with(checks.Wait("%s does not know the DataNode %s yet", v.NameNode.Name(), key), e)
		}
	}
	if a.Get("want") == wantMaintenance && !j.runs(ctx, active.Info.Live[key].InfoAddr) {
		skip := mesh.Answer{Verdict: mesh.VerdictSkip, Reason: "the DataNode does not run: in maintenance nothing of it would be copied"}
		return with(skip, e)
	}
	if no := calm(active, key, e); no != nil {
		return with(*no, e)
	}
	if no := room(active.Info, key, floor, e); no != nil {
		return with(*no, e)
	}
	if no := blast(active.Info, key, e); no != nil {
		return with(*no, e)
	}
	answer := with(mesh.Answer{Verdict: mesh.VerdictOK}, e)
	answer.Facts = before(active, active.Info.Live[key].NumBlocks)
	return answer
}

// runs reports whether a DataNode answers at an address: a NameNode takes one
// that has stopped for alive for a while.
func (j *judge) runs(ctx context.Context, addr string) bool {
	if addr == "" {
		return false
	}
	_, err := j.JMX.DataNodeInfo(ctx, addr)
	return jmx.KindOf(err) != jmx.NoAnswer
}

// before is what proven compares with.
func before(v *jmx.View, blocks int64) map[string]string {
	return map[string]string{
		"missing_before":        strconv.FormatInt(lost(v.Info), 10),
		"low_redundancy_before": strconv.FormatInt(low(v), 10),
		"blocks_before":         strconv.FormatInt(blocks, 10),
	}
}

// calm says whether the cluster is well enough for anything.
func calm(v *jmx.View, key string, e evidence) *mesh.Answer {
	i := v.Info
	stale := v.System.NumStaleDataNodes
	if n, ok := i.Live[key]; ok && n.LastContact >= staleAge {
		stale-- // it is the one that is meant.
	}
	limit := max(fewLow, v.System.BlocksTotal*maxLow/100)
	e.number("low_redundancy_allowed", limit)
	var no mesh.Answer
	switch {
	case i.Safemode != "":
		no = checks.Refuse("the NameNode is in safe mode: nothing would be copied")
	case i.RollingUpgrade || !i.UpgradeFinalized:
		no = checks.Refuse("an upgrade of HDFS is under way")
	case lost(i) > 0:
		no = loss(i, e)
	case stale > 0:
		no = checks.Wait("%d other DataNodes are stale", stale)
	case low(v) > limit:
		no = checks.Wait("%d blocks lack copies, more than %d; they are to be copied first", low(v), limit)
	default:
		return nil
	}
	return &no
}

// leastStay is how many DataNodes stay in service in any case: with two, the next
// disk that breaks leaves a block on one.
const leastStay = 3

// floor is how many DataNodes must stay in service so that each block finds its
// place, and why. The answer is what to say when nobody can tell.
func (j *judge) floor(ctx context.Context, s *site.Site, active *jmx.View, e evidence) (floor, *mesh.Answer) {
	copies, err := s.Replication()
	if err != nil {
		no := checks.Refuse("%v", err)
		return floor{}, &no
	}
	ec, err := j.JMX.ErasureCoding(ctx, active.NameNode.HTTP)
	if err != nil {
		wait := checks.Wait("%v", err)
		return floor{}, &wait
	}
	e.number("replication", int64(copies))
	e.number("erasure_coded_groups", ec.Groups)
	out := floor{leastStay, "a cluster of HDFS has at least " + strconv.Itoa(leastStay), copies}
	if copies >= leastStay {
		out.stay, out.why = copies, fmt.Sprintf("a block has %d copies", copies)
	}
	if ec.Groups == 0 {
		return out, nil
	}
	width, policy := ec.Width()
	e["erasure_coding"] = ec.Enabled
	switch {
	case width == 0:
		no := checks.Refuse("%d groups of blocks are erasure-coded, and nobody can say how wide: the enabled policies are %q", ec.Groups, ec.Enabled)
		return out, &no
	case width > out.stay:
		// Which policies files have is not told: one that none has can be disabled.
		out.stay, out.why = width, fmt.Sprintf("the erasure coding policy %s needs %d (`hdfs ec -disablePolicy` if no file has it)", policy, width)
	}
	return out, nil
}

// floor is a number of DataNodes, with what it is for.
type floor struct {
	stay   int
	why    string
	copies int // of a block, unless its file wants others.
}

// room says whether those that stay can hold the copies: enough of them, with
// space, on racks enough.
func room(i *jmx.NameNodeInfo, key string, least floor, e evidence) *mesh.Answer {
	var stay, free int64
	racks, racksBefore := make(map[string]bool), make(map[string]bool)
	for k, n := range i.Live {
		if n.AdminState != jmx.InService && k != key {
			continue
		}
		racksBefore[n.Location] = true
		if k != key {
			stay++
			free += n.Remaining
			racks[n.Location] = true
		}
	}
	used := i.Live[key].Used
	e.number("stay_in_service", stay)
	e.number("stay_needed", int64(least.stay))
	e.number("used_here", used)
	e.number("free_elsewhere", free)
	e.number("racks_after", int64(len(racks)))
	var no mesh.Answer
	switch {
	case stay < int64(least.stay):
		no = checks.Refuse("%d DataNodes would stay in service, and %s", stay, least.why)
	case float64(used) > float64(free)*maxFill/100:
		no = checks.Refuse("%d bytes would have to be copied, more than %d%% of the %d bytes that are free on the others", used, maxFill, free)
	case len(racksBefore) > 1 && len(racks) < 2 && least.copies > 1:
		no = checks.Refuse("all that stay are on one rack, and copies must be on two")
	default:
		return nil
	}
	return &no
}

// blast says whether too many are away already. One that is mended counts like
// one that is broken.
func blast(i *jmx.NameNodeInfo, key string, e evidence) *mesh.Answer {
	away, all := int64(1), int64(len(i.Live)) // with the one that is meant.
	rack, lives := i.Live[key].Location, true
	if rack == "" {
		rack, lives = i.Dead[key].Location, false
	}
	sameRack, other := false, ""
	racks := make(map[string]bool)
	count := func(k, location string) {
		away++
		other = k
		sameRack = sameRack || location == rack
	}
	for k, n := range i.Live {
		racks[n.Location] = true
		if k == key {
			continue
		}
		switch n.AdminState {
		case jmx.Decommissioning, jmx.EnteringMaint, jmx.InMaintenance:
			count(k, n.Location)
		case jmx.InService, jmx.Decommissioned: // the latter has left.
		}
	}
	for k, n := range i.Dead {
		if k == key || n.AdminState == jmx.Decommissioned {
			continue
		}
		all++
		count(k, n.Location)
	}
	if !lives {
		all++
	}
	limit := max(1, all*maxAway/100)
	e.number("away", away)
	e.number("away_allowed", limit)
	var no mesh.Answer
	switch {
	case away > limit:
		no = checks.Refuse("%d of %d DataNodes would be away, at most %d may; %s is one of them already", away, all, limit, other)
	case sameRack && len(racks) > 1:
		no = checks.Refuse("another DataNode of the rack %s is away already: %s", rack, other)
	default:
		return nil
	}
	return &no
}

// volumeGuard says whether the DataNode of this node may go on without the
// directory that it has given up. Where that is not the question it says skip.
func (j *judge) volumeGuard(ctx context.Context, a checks.Args) mesh.Answer {
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
	_, active, no := j.see(ctx, nns, m.seen)
	if no != nil {
		return *no
	}
	dn := j.ask(ctx, conf)
	if no := m.oneVolume(dn, a.Get("volumes")); no != nil {
		return with(*no, m.seen)
	}
	who, err := dn.identify(ctx, active.Info)
	switch {
	case err != nil:
		return with(checks.Refuse("%v", err), m.seen)
	case who.live == nil || who.live.AdminState != jmx.InService:
		return with(skip("the DataNode is not in service"), m.seen)
	case active.Info.Safemode != "":
		return with(checks.Refuse("the NameNode is in safe mode: nothing would be copied"), m.seen)
	case lost(active.Info) > 0:
		return loss(active.Info, m.seen)
	}
	answer := with(mesh.Answer{Verdict: mesh.VerdictOK}, m.seen)
	answer.Facts = before(active, low(active))
	// What lacks copies now lacks them because of this very volume.
	answer.Facts["low_redundancy_before"] = "0"
	return answer
}

func skip(reason string) mesh.Answer { return mesh.Answer{Verdict: mesh.VerdictSkip, Reason: reason} }

// oneVolume says whether it is a matter of exactly one directory, which the
// DataNode bears.
func (m *matter) oneVolume(dn dataNode, volumes string) *mesh.Answer {
	var no mesh.Answer
	if dn.info == nil {
		no = skip("the DataNode does not run: " + dn.err.Error())
		return &no
	}
	tolerated, err := m.site.FailedVolumesTolerated()
	if err != nil {
		no = checks.Refuse("%v", err)
		return &no
	}
	if tolerated < 0 {
		tolerated = m.dirs - 1
	}
	gone := dn.gaveUp(m.site)
	switch {
	case len(m.failed) != 1:
		no = skip(strconv.Itoa(len(m.failed)) + " directories fail: that is more than a disk")
	case len(gone) != 1 || gone[0] != m.failed[0].Dir:
		no = skip("the DataNode has not given up " + m.failed[0].Dir + " alone")
	case volumes != "" && volumes != m.failed[0].Dir:
		no = skip("it was confirmed for " + volumes + ", and now " + m.failed[0].Dir + " fails")
	case tolerated < 1:
		no = skip("the DataNode tolerates no failed volume")
	case len(dn.info.Volumes) == 0:
		no = skip("no other volume is left")
	default:
		return nil
	}
	return &no
}
