package hdfs

import (
	"context"
	"math"
	"slices"
	"strings"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
	"alps/mesh/nodeset"
)

// active asks the NameNode of this node, and returns its view when it is the
// active one; otherwise the result says what to tell.
func (p *pack) active(ctx context.Context, s *checks.Settings) (jmx.View, *checks.Result) {
	_, n, bad := p.own(ctx, s)
	if bad != nil {
		return jmx.View{}, bad
	}
	v := p.jmx.Survey(ctx, []site.NameNode{n})[0]
	switch {
	case v.Err != nil:
		r := checks.Unknown("%v", v.Err)
		return v, &r
	case v.Status.State != jmx.StateActive:
		r := checks.Result{Status: mesh.HealthPassing, Output: "this NameNode is " + v.Status.State + ": the active one counts"}
		return v, &r
	}
	return v, nil
}

// blocks counts what may be lost.
func (p *pack) blocks(ctx context.Context, s *checks.Settings) checks.Result {
	missing, corrupt := s.Number("missing"), s.Number("corrupt")
	warn, critical := s.Percent("under_warn"), s.Percent("under_critical")
	v, other := p.active(ctx, s)
	if other != nil {
		return *other
	}
	m, err := p.jmx.SystemMetrics(ctx, v.NameNode.HTTP)
	if err != nil {
		return checks.Unknown("%v", err)
	}
	off := math.NaN()
	var f checks.Findings
	f.Worse(float64(v.Info.Missing), off, missing, "blocks are missing: no copy of them is left")
	f.Worse(float64(v.Info.MissingReplOne), off, missing, "blocks are missing that had one copy only")
	f.Worse(float64(m.CorruptBlocks), off, corrupt, "blocks have corrupt copies")
	under := 0.0
	if v.System.BlocksTotal > 0 {
		under = 100 * float64(v.System.UnderReplicatedBlocks) / float64(v.System.BlocksTotal)
	}
	f.Worse(under, warn, critical, "too many blocks have too few copies")
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"missing", v.Info.Missing},
		{"missing_replication_one", v.Info.MissingReplOne},
		{"corrupt", m.CorruptBlocks},
		{"under_replicated", v.System.UnderReplicatedBlocks},
		{"last_copy", v.Info.HighestPriority},
		{"pending_deletion", v.System.PendingDeletionBlocks},
		{"stale_storages", v.System.NumStaleStorages},
		{"postponed", m.PostponedMisreplicatedBlocks},
		{"blocks", v.System.BlocksTotal},
	} {
		f.Sample(mesh.Sample{Name: n.name, Value: float64(n.value)})
	}
	f.Sample(mesh.Sample{Name: "under_replicated_share", Value: under, Unit: "%", Warn: checks.Bound(warn), Crit: checks.Bound(critical)})
	return f.Result("no block is missing or corrupt")
}

// dataNodes counts who is there.
func (p *pack) dataNodes(ctx context.Context, s *checks.Settings) checks.Result {
	warn, critical := s.Percent("warn"), s.Percent("critical")
	deadWarn, volumesWarn := s.Number("dead_warn"), s.Number("volumes_warn")
	v, other := p.active(ctx, s)
	if other != nil {
		return *other
	}
	var f checks.Findings
	var dead, failed []string
	for key, n := range v.Info.Dead {
		// Who was sent away may be dead.
		if n.AdminState != jmx.Decommissioned && n.AdminState != jmx.InMaintenance {
			dead = append(dead, key)
		}
	}
	volumes := 0.0
	for key, n := range v.Info.Live {
		if n.VolFails > 0 {
			failed = append(failed, key)
			volumes += float64(n.VolFails)
		}
	}
	stale := float64(v.System.NumStaleDataNodes)
	share := 0.0
	if all := len(v.Info.Live) + len(dead); all > 0 {
		share = 100 * (float64(len(dead)) + stale) / float64(all)
	}
	f.Worse(share, warn, critical, "too many DataNodes are dead or stale")
	f.Worse(float64(len(dead)), deadWarn, math.NaN(), "dead: %s", fold(dead))
	f.Worse(volumes, volumesWarn, math.NaN(), "volumes have failed on %s", fold(failed))
	if len(v.Info.Live) == 0 {
		f.Add(mesh.HealthCritical, "no DataNode lives")
	}
	for _, n := range []struct {
		name  string
		value float64
	}{
		{"live", float64(len(v.Info.Live))},
		{"dead", float64(len(dead))},
		{"stale", stale},
		{"decommissioning", float64(len(v.Info.Leaving))},
		{"entering_maintenance", float64(len(v.Info.Entering))},
		{"failed_volumes", volumes},
	} {
		f.Sample(mesh.Sample{Name: n.name, Value: n.value})
	}
	f.Sample(mesh.Sample{Name: "affected", Value: share, Unit: "%", Warn: checks.Bound(warn), Crit: checks.Bound(critical)})
	return f.Result(whoIsThere(v.Info))
}

// whoIsThere is the text when all is well, with those who leave on purpose.
func whoIsThere(info *jmx.NameNodeInfo) string {
	var leaving, maintained []string
	for key := range info.Leaving {
		leaving = append(leaving, key)
	}
	for key := range info.Entering {
		maintained = append(maintained, key)
	}
	for key, n := range info.Live {
		if n.AdminState == jmx.InMaintenance {
			maintained = append(maintained, key)
		}
	}
	text := "the DataNodes are there"
	if len(leaving) > 0 {
		text += "; decommissioning: " + fold(leaving)
	}
	if len(maintained) > 0 {
		text += "; in maintenance: " + fold(maintained)
	}
	if len(text) > 190 {
		text = strings.ToValidUTF8(text[:190], "") + "…"
	}
	return text
}

// fold writes the hosts of keys of DataNodes as a short list.
func fold(keys []string) string {
	slices.Sort(keys)
	return clip(nodeset.Fold(keys))
}

// capacity judges how full the DataNodes are, of what they give to HDFS.
func (p *pack) capacity(ctx context.Context, s *checks.Settings) checks.Result {
	warn, critical := s.Percent("warn"), s.Percent("critical")
	v, other := p.active(ctx, s)
	if other != nil {
		return *other
	}
	whole := float64(v.System.CapacityUsed) + float64(v.System.CapacityRemaining)
	if whole <= 0 {
		return checks.Unknown("the DataNodes have no room at all, or none is there")
	}
	used := 100 * float64(v.System.CapacityUsed) / whole
	var f checks.Findings
	f.Sample(mesh.Sample{Name: "used", Value: used, Unit: "%", Warn: checks.Bound(warn), Crit: checks.Bound(critical)})
	f.Sample(mesh.Sample{Name: "remaining", Value: float64(v.System.CapacityRemaining), Unit: "B"})
	f.Worse(used, warn, critical, "HDFS is nearly full")
	return f.Result("HDFS has room")
}

// files looks for many small files, which cost a NameNode its memory.
func (p *pack) files(ctx context.Context, s *checks.Settings) checks.Result {
	many, smallest := s.Number("files"), s.Size("smallest")
	st, err := p.site(s)
	v, other := p.active(ctx, s)
	if other != nil {
		return *other
	}
	if err != nil {
		return checks.Unknown("%v", err)
	}
	copies, err := st.Replication()
	if err != nil {
		return checks.Unknown("%v", err)
	}
	var f checks.Findings
	f.Sample(mesh.Sample{Name: "files", Value: float64(v.System.FilesTotal)})
	if v.System.BlocksTotal > 0 {
		size := float64(v.System.CapacityUsed) / float64(copies) / float64(v.System.BlocksTotal)
		f.Sample(mesh.Sample{Name: "block_size", Value: size, Unit: "B", Warn: checks.Bound(smallest)})
		if float64(v.System.FilesTotal) >= many && size < smallest {
			f.Add(mesh.HealthWarning, "there are many small files")
		}
	}
	return f.Result("the files are not too small")
}
