package hdfs

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/checks/hdfs/volume"
	"alps/mesh"
)

// disks tries every directory of blocks. It needs no DataNode, which may have
// stopped because of what is found here.
func (p *pack) disks(ctx context.Context, s *checks.Settings) checks.Result {
	patience, mounts := s.Duration("timeout"), s.Words("mounts")
	st, siteErr := p.site(s)
	q := volume.Query{Timeout: time.Duration(patience * float64(time.Second)), Sources: make(map[string]string)}
	if math.IsNaN(patience) || q.Timeout < 10*time.Millisecond {
		q.Timeout = 10 * time.Second
	}
	if err := s.Err(); err != nil {
		return checks.Unknown("%v", err)
	}
	for _, w := range mounts {
		dir, source, ok := strings.Cut(w, "=")
		switch {
		case w == "own":
			q.Own = true
		case ok && dir != "" && source != "":
			q.Sources[dir] = source
		default:
			return checks.Unknown("setting mounts: want own, or /data/1=/dev/sdb1 for each directory")
		}
	}
	if siteErr != nil {
		return checks.Unknown("%v", siteErr)
	}
	dirs, err := st.DataDirs()
	if err != nil {
		return checks.Unknown("%v", err)
	}
	for _, d := range dirs {
		q.Dirs = append(q.Dirs, d.Path)
	}
	if len(q.Dirs) == 0 {
		return checks.Unknown("%s has no dfs.datanode.data.dir", st.Dir)
	}
	if end, ok := ctx.Deadline(); ok { // there must be time left to tell of what hangs.
		q.Timeout = min(q.Timeout, time.Until(end)*3/4)
	}
	return p.judgeDisks(p.volumes.Look(ctx, q))
}

func (p *pack) judgeDisks(reports []volume.Report) checks.Result {
	var f checks.Findings
	failed := 0
	for _, r := range reports {
		for _, problem := range r.Problems {
			f.Add(problem.Health, "%s: %s", r.Dir, problem.Text)
		}
		if r.Failed() {
			failed++
			f.Disk(r.Disk)
		}
		if r.Seconds > 0 {
			f.Sample(mesh.Sample{Name: "write:" + r.Dir, Value: r.Seconds, Unit: "s"})
		}
	}
	f.Sample(mesh.Sample{Name: "failed", Value: float64(failed)})
	f.Sample(mesh.Sample{Name: "hanging", Value: float64(p.volumes.Hanging())})
	return f.Result(count(len(reports), "volume works", "volumes work"))
}

// count says how many of something there are.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// dataNode asks the DataNode of this node.
func (p *pack) dataNode(ctx context.Context, s *checks.Settings) checks.Result {
	warn, heartbeatWarn, heartbeatCritical := s.Number("warn"), s.Duration("heartbeat_warn"), s.Duration("heartbeat_critical")
	st, err := p.site(s)
	if serr := s.Err(); serr != nil {
		return checks.Unknown("%v", serr)
	}
	if err != nil {
		return checks.Unknown("%v", err)
	}
	dn, err := st.DataNode()
	if err != nil {
		return checks.Unknown("%v", err)
	}
	addr := site.Dial(dn.HTTP)
	info, err := p.jmx.DataNodeInfo(ctx, addr)
	if err != nil {
		return unanswered("the DataNode", err)
	}
	set, err := p.jmx.Dataset(ctx, addr)
	if err != nil {
		return unanswered("the DataNode", err)
	}
	var f checks.Findings
	if err := failedVolumes(&f, st, set, warn); err != nil {
		return checks.Unknown("%v", err)
	}
	for _, disk := range p.volumes.Disks(ctx, set.FailedVolumes) {
		f.Disk(disk)
	}
	if err := configured(&f, st, info); err != nil {
		return checks.Unknown("%v", err)
	}
	if err := connected(&f, st, info, heartbeatWarn, heartbeatCritical); err != nil {
		return checks.Unknown("%v", err)
	}
	f.Sample(mesh.Sample{Name: "xceivers", Value: float64(info.Xceivers)})
	f.Sample(mesh.Sample{Name: "volumes", Value: float64(len(info.Volumes))})
	return f.Result("the DataNode runs with " + count(len(info.Volumes), "volume", "volumes"))
}

// unanswered is the result when a daemon of this node does not say what it
// should: it is asked where it must be, so that silence is its fault. A login
// that it wants is not.
func unanswered(who string, err error) checks.Result {
	switch jmx.KindOf(err) {
	case jmx.Denied, jmx.Router, "":
		return checks.Unknown("%v", err)
	default:
		return checks.Result{Status: mesh.HealthCritical, Output: fmt.Sprintf("%s does not answer: %v", who, err)}
	}
}

// failedVolumes compares what has failed with what is tolerated.
func failedVolumes(f *checks.Findings, st *site.Site, set *jmx.Dataset, warn float64) error {
	tolerated, err := st.FailedVolumesTolerated()
	if err != nil {
		return err
	}
	critical := float64(tolerated) + 1
	if tolerated < 0 { // all but one may fail.
		critical = math.NaN()
	}
	n := float64(set.NumFailedVolumes)
	f.Sample(mesh.Sample{Name: "failed", Value: n, Warn: checks.Bound(warn), Crit: checks.Bound(critical)})
	if n > 0 {
		which := strings.Join(set.FailedVolumes, ", ")
		if which == "" {
			which = "it does not say which"
		}
		f.Worse(n, warn, critical, "the DataNode has given up volumes: %s", clip(which))
	}
	return nil
}

// configured compares the volumes in service with the configuration.
func configured(f *checks.Findings, st *site.Site, info *jmx.DataNodeInfo) error {
	dirs, err := st.DataDirs()
	if err != nil {
		return err
	}
	var missing, extra []string
	known := make(map[string]bool)
	for _, d := range dirs {
		known[d.Path] = true
		if _, ok := info.Volumes[d.Path]; !ok {
			missing = append(missing, d.Path)
		}
	}
	for path := range info.Volumes {
		if !known[path] && len(dirs) > 0 {
			extra = append(extra, path)
		}
	}
	slices.Sort(extra)
	if len(missing) > 0 {
		f.Add(mesh.HealthWarning, "configured, but not in service: %s", clip(strings.Join(missing, ", ")))
	}
	if len(extra) > 0 {
		f.Add(mesh.HealthWarning, "in service, but not configured: %s", clip(strings.Join(extra, ", ")))
	}
	return nil
}

// connected judges the DataNode's link to each NameNode. To be cut off from the
// active, or from all, is to be dead soon; a standby that is away is not this
// node's fault.
func connected(f *checks.Findings, st *site.Site, info *jmx.DataNodeInfo, warn, critical float64) error {
	nns, err := st.NameNodes()
	if err != nil {
		return err
	}
	youngest := math.Inf(1)
	for _, a := range info.Actors {
		youngest = min(youngest, float64(a.HeartbeatAge))
	}
	for _, a := range info.Actors {
		age := float64(a.HeartbeatAge)
		f.Sample(mesh.Sample{Name: "heartbeat:" + a.NameNode + ":" + a.BlockPool, Value: age, Unit: "s", Warn: checks.Bound(warn), Crit: checks.Bound(critical)})
		switch {
		case !a.Running():
			f.Add(mesh.HealthWarning, "it does not serve the NameNode %s", a.NameNode)
		case age >= critical && (a.HAState == jmx.StateActive || youngest >= critical):
			f.Add(mesh.HealthCritical, "the last heartbeat to %s is older than %s s", a.NameNode, checks.Bound(critical))
		case age >= warn:
			f.Add(mesh.HealthWarning, "the last heartbeat to %s is older than %s s", a.NameNode, checks.Bound(warn))
		}
	}
	if len(info.Actors) < len(nns) {
		f.Add(mesh.HealthWarning, "it serves %d of %d NameNodes", len(info.Actors), len(nns))
	}
	return nil
}

// maxNames is how much of a list of names fits a glance.
const maxNames = 500

func clip(s string) string {
	if len(s) <= maxNames {
		return s
	}
	return strings.ToValidUTF8(s[:maxNames], "") + "…"
}
