package hdfs

import (
	"context"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// own returns the NameNode of this node and the site that says so. The last
// result is what to say when there is none.
func (p *pack) own(ctx context.Context, s *checks.Settings) (*site.Site, site.NameNode, *checks.Result) {
	st, err := p.site(s)
	if serr := s.Err(); serr != nil {
		err = serr
	}
	if err == nil {
		err = st.Readable()
	}
	var n *site.NameNode
	if err == nil {
		n, err = st.Own(ctx)
	}
	if err != nil {
		r := checks.Unknown("%v", err)
		return nil, site.NameNode{}, &r
	}
	if n == nil {
		r := checks.Unknown("this node is none of the NameNodes of %s", st.Dir)
		return nil, site.NameNode{}, &r
	}
	return st, *n, nil
}

// nameNode looks at the NameNode of this node, active or not.
func (p *pack) nameNode(ctx context.Context, s *checks.Settings) checks.Result {
	heap := limits{s.Percent("heap_warn"), s.Percent("heap_critical")}
	queue := limits{s.Duration("queue_warn"), s.Duration("queue_critical")}
	checkpoint := limits{s.Number("checkpoint_warn"), s.Number("checkpoint_critical")}
	st, n, bad := p.own(ctx, s)
	if bad != nil {
		return *bad
	}
	v := p.jmx.Survey(ctx, []site.NameNode{n})[0]
	if v.Err != nil {
		return unanswered("the NameNode", v.Err)
	}
	var f checks.Findings
	if v.Info.Safemode != "" {
		h := mesh.HealthWarning
		if v.Status.State == jmx.StateActive {
			h = mesh.HealthCritical // nobody can write.
		}
		f.Add(h, "the NameNode is in safe mode")
	}
	if len(v.Info.FailedNameDirs) > 0 {
		f.Add(mesh.HealthCritical, "it has given up directories of its own: %s", clip(strings.Join(v.Info.FailedNameDirs, ", ")))
	}
	if err := p.process(ctx, &f, n, heap, queue); err != nil {
		return unanswered("the NameNode", err)
	}
	if err := p.checkpoint(ctx, &f, st, n, checkpoint); err != nil {
		return unanswered("the NameNode", err)
	}
	return f.Result("the NameNode runs and is " + v.Status.State)
}

// limits are two thresholds.
type limits struct{ warn, critical float64 }

// process judges the memory and the queue of a NameNode.
func (p *pack) process(ctx context.Context, f *checks.Findings, n site.NameNode, heap, queue limits) error {
	jvm, err := p.jmx.JVM(ctx, n.HTTP)
	if err != nil {
		return err
	}
	if jvm.MemHeapMaxM > 0 {
		used := 100 * jvm.MemHeapUsedM / jvm.MemHeapMaxM
		f.Sample(mesh.Sample{Name: "heap", Value: used, Unit: "%", Warn: checks.Bound(heap.warn), Crit: checks.Bound(heap.critical)})
		f.Worse(used, heap.warn, heap.critical, "its heap is nearly full")
	}
	rpcs, err := p.jmx.RPC(ctx, n.HTTP)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(n.RPC)
	for _, r := range rpcs {
		wait := r.QueueMillis / 1000
		f.Sample(mesh.Sample{Name: "queue:" + r.Port, Value: wait, Unit: "s", Warn: checks.Bound(queue.warn), Crit: checks.Bound(queue.critical)})
		if r.Port == port || len(rpcs) == 1 {
			f.Worse(wait, queue.warn, queue.critical, "calls wait long for it at port %s", r.Port)
		}
	}
	return nil
}

// checkpoint judges how much of the edit log must be read again at a start: by
// how many periods, and how many times the transactions, that a checkpoint
// should come after.
func (p *pack) checkpoint(ctx context.Context, f *checks.Findings, st *site.Site, n site.NameNode, most limits) error {
	period, err := seconds(st, "dfs.namenode.checkpoint.period", time.Hour)
	if err != nil {
		return err
	}
	txns, err := st.Int("dfs.namenode.checkpoint.txns", 1_000_000)
	if err != nil {
		return err
	}
	m, err := p.jmx.SystemMetrics(ctx, n.HTTP)
	if err != nil || m.LastCheckpointTime <= 0 || txns <= 0 {
		return err
	}
	age := max(0, time.Since(time.UnixMilli(m.LastCheckpointTime)).Seconds())
	f.Sample(mesh.Sample{Name: "checkpoint_age", Value: age, Unit: "s"})
	f.Sample(mesh.Sample{Name: "checkpoint_transactions", Value: float64(m.TransactionsSinceLastCheckpoint)})
	share := math.Max(age/period.Seconds(), float64(m.TransactionsSinceLastCheckpoint)/float64(txns))
	f.Worse(share, most.warn, most.critical, "its last checkpoint is too old")
	return nil
}

// seconds reads a duration as Hadoop writes it: 3600, 3600s, 60m, 1h, 1d.
func seconds(st *site.Site, key string, standard time.Duration) (time.Duration, error) {
	text := st.Get(key)
	if text == "" {
		return standard, nil
	}
	unit := time.Second
	switch text[len(text)-1] {
	case 'm':
		unit = time.Minute
	case 'h':
		unit = time.Hour
	case 'd':
		unit = 24 * time.Hour
	}
	n, err := strconv.ParseUint(strings.TrimRight(text, "smhd"), 10, 24)
	if err != nil || n == 0 {
		return 0, mesh.Errorf(mesh.Invalid, "%s of %s: want seconds, got %q", key, st.Dir, text)
	}
	return time.Duration(n) * unit, nil
}

// ha looks whether exactly one NameNode leads.
func (p *pack) ha(ctx context.Context, s *checks.Settings) checks.Result {
	st, n, bad := p.own(ctx, s)
	if bad != nil {
		return *bad
	}
	all, err := st.NameNodes()
	if err != nil {
		return checks.Unknown("%v", err)
	}
	var ours []site.NameNode
	for _, o := range all {
		if o.Service == n.Service {
			ours = append(ours, o)
		}
	}
	survey := p.jmx.Survey(ctx, ours)
	if _, err := survey.Active(); err != nil {
		return checks.Result{Status: mesh.HealthCritical, Output: err.Error()}
	}
	var f checks.Findings
	for _, v := range survey.Silent() {
		f.Add(mesh.HealthWarning, "the NameNode %s: %v", v.NameNode.Name(), v.Err)
	}
	f.Sample(mesh.Sample{Name: "namenodes", Value: float64(len(ours))})
	f.Sample(mesh.Sample{Name: "silent", Value: float64(len(survey.Silent()))})
	// Not who: a failover that went well is no news.
	return f.Result("one of " + count(len(ours), "NameNode is active", "NameNodes is active"))
}
