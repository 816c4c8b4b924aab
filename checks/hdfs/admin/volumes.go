package admin

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"alps/checks/hdfs/datadirs"
	"alps/checks/hdfs/edit"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// DropVolumes takes failed directories out of this node's DataNode. One that is
// in service is refused, for its replicas would be forgotten at once.
func (a *Admin) DropVolumes(ctx context.Context, dirs ...string) (mesh.Answer, error) {
	v, stop, err := a.volumes(ctx, dirs)
	if err != nil || stop != nil {
		return deref(stop), err
	}
	dropped, err := datadirs.Dropped(v.file)
	if err != nil {
		return refused(err, v.evidence()), nil
	}
	if len(v.among(dropped)) == len(v.dirs) && len(v.among(v.data.FailedVolumes)) == 0 && v.inService(v.info) == 0 {
		return answer(mesh.VerdictOK, "", v.evidence(), evidence{"state": "dropped already"}), nil
	}
	if reason := cmp.Or(v.mayDrop(), v.mayStay()); reason != "" {
		return no(reason, v.evidence()), nil
	}
	c, err := datadirs.Drop(ctx, v.file, v.dirs...)
	if err != nil {
		return refused(err, v.evidence()), nil
	}
	if a.o.DryRun {
		return v.dry(c), nil
	}
	got := a.reconfigured(ctx, v, func(i *jmx.DataNodeInfo, d *jmx.Dataset) bool {
		return v.inService(i) == 0 && len(v.among(d.FailedVolumes)) == 0
	})
	if got.Verdict != mesh.VerdictOK && c.Changed {
		a.undo(ctx, v, &got, datadirs.Add)
	}
	return with(got, c), nil
}

// AddVolumes puts directories back that were dropped or had failed, once their
// disks are whole again.
func (a *Admin) AddVolumes(ctx context.Context, dirs ...string) (mesh.Answer, error) {
	v, stop, err := a.volumes(ctx, dirs)
	if err != nil || stop != nil {
		return deref(stop), err
	}
	if v.configured(v.dirs...) && v.inService(v.info) == len(v.dirs) {
		return answer(mesh.VerdictOK, "", v.evidence(), evidence{"state": "in service already"}), nil
	}
	c, err := datadirs.Add(ctx, v.file, v.dirs...)
	if err != nil {
		return refused(err, v.evidence()), nil
	}
	if a.o.DryRun {
		return v.dry(c), nil
	}
	back := func(i *jmx.DataNodeInfo, _ *jmx.Dataset) bool { return v.inService(i) == len(v.dirs) }
	got := a.reconfigured(ctx, v, back)
	switch {
	case got.Verdict == mesh.VerdictOK:
	case c.Changed:
		a.undo(ctx, v, &got, datadirs.Drop)
	case got.Evidence["reconfig"] == string(nothing):
		// The DataNode was started with the failed disk and does not look again
		// at what has not changed: take it out and put it back.
		got = a.twice(ctx, v, back)
	}
	return with(got, c), nil
}

// volumes is what is known of the DataNode of this node before anything is done.
type volumes struct {
	dirs      []string // that are meant: clean paths.
	file      datadirs.Options
	command   []string // that begins a reconfiguration.
	http, ipc string
	site      []site.DataDir
	tolerated int
	info      *jmx.DataNodeInfo
	data      *jmx.Dataset
}

// volumes reads the configuration and asks the DataNode. An error says that the
// question makes no sense.
func (a *Admin) volumes(ctx context.Context, dirs []string) (*volumes, *mesh.Answer, error) {
	v := &volumes{file: datadirs.Options{Path: filepath.Join(a.o.Site.Dir, "hdfs-site.xml"), DryRun: a.o.DryRun}}
	for _, d := range dirs {
		if !path.IsAbs(d) || path.Clean(d) != d || strings.ContainsAny(d, ",[]${}\n") {
			return nil, nil, mesh.Errorf(mesh.Invalid, "read the directory %q: want an absolute path such as /data/1", d)
		}
		if !slices.Contains(v.dirs, d) {
			v.dirs = append(v.dirs, d)
		}
	}
	if len(v.dirs) == 0 {
		return nil, nil, mesh.Errorf(mesh.Invalid, "no directory is named")
	}
	var dn site.DataNode
	var err error
	if v.site, err = a.o.Site.DataDirs(); err == nil {
		if v.tolerated, err = a.o.Site.FailedVolumesTolerated(); err == nil {
			dn, err = a.o.Site.DataNode()
		}
	}
	if err != nil {
		return nil, new(refused(err)), nil
	}
	v.http, v.ipc = site.Dial(dn.HTTP), site.Dial(dn.IPC)
	v.command = a.dfsadmin.reconfig(v.ipc, "start")
	if v.info, v.data, err = a.ask(ctx, v.http); err != nil {
		return nil, new(wait(err.Error())), nil
	}
	return v, nil, nil
}

// ask reads both beans in which a DataNode tells of its directories.
func (a *Admin) ask(ctx context.Context, addr string) (*jmx.DataNodeInfo, *jmx.Dataset, error) {
	info, err := a.jmx.DataNodeInfo(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	data, err := a.jmx.Dataset(ctx, addr)
	return info, data, err
}

// among are those of the directories that are in a list.
func (v *volumes) among(list []string) []string {
	return slices.DeleteFunc(slices.Clone(v.dirs), func(d string) bool { return !slices.Contains(list, d) })
}

// inService is how many of the directories a DataNode works with.
func (v *volumes) inService(i *jmx.DataNodeInfo) int {
	n := 0
	for _, d := range v.dirs {
		if _, ok := i.Volumes[d]; ok {
			n++
		}
	}
	return n
}

// configured reports whether any of the directories is in the configuration.
func (v *volumes) configured(dirs ...string) bool {
	return slices.ContainsFunc(v.site, func(d site.DataDir) bool { return slices.Contains(dirs, d.Path) })
}

// left is how many directories are configured beside those that are meant.
func (v *volumes) left() int {
	n := 0
	for _, d := range v.site {
		if !slices.Contains(v.dirs, d.Path) {
			n++
		}
	}
	return n
}

// mayDrop says why the directories may not be dropped; "" when they may.
func (v *volumes) mayDrop() string {
	for _, d := range v.dirs {
		_, serves := v.info.Volumes[d]
		switch {
		case serves:
			return fmt.Sprintf("%s is in service: its replicas would be forgotten, and nothing copied first", d)
		case !slices.Contains(v.data.FailedVolumes, d):
			return fmt.Sprintf("%s is not among the failed directories of the DataNode: %s", d, list(v.data.FailedVolumes))
		}
	}
	switch {
	case v.left() == 0:
		return "it is the last directory of the DataNode"
	case len(v.info.Volumes) == 0:
		return "the DataNode has no other directory in service"
	}
	return ""
}

// mayStay says why a DataNode would not live without the directories. Hadoop
// refuses to start one that tolerates as many failures as it has directories.
func (v *volumes) mayStay() string {
	if v.tolerated < v.left() {
		return ""
	}
	return fmt.Sprintf("with %d left and dfs.datanode.failed.volumes.tolerated at %d the DataNode would not start again", v.left(), v.tolerated)
}

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// evidence is what was seen before.
func (v *volumes) evidence() evidence {
	var serving []string
	for d := range v.info.Volumes {
		serving = append(serving, d)
	}
	slices.Sort(serving)
	return evidence{
		"datanode": v.info.Hostname, "volumes": strings.Join(v.dirs, ","),
		"in service before": list(serving), "failed before": list(v.data.FailedVolumes),
	}
}

// dry is the answer of a dry run.
func (v *volumes) dry(c edit.Change) mesh.Answer {
	return answer(mesh.VerdictOK, "dry run: nothing was changed", v.evidence(), evidenceOf(c), evidence{"command": strings.Join(v.command, " ")})
}

// reconfigured has the DataNode read its configuration, and looks whether it
// has done so and works with the directories as is wanted.
func (a *Admin) reconfigured(ctx context.Context, v *volumes, want func(*jmx.DataNodeInfo, *jmx.Dataset) bool) mesh.Answer {
	e := v.evidence()
	how, err := a.reconfigure(ctx, v, e)
	if err != nil {
		return wait(err.Error(), e)
	}
	var serving []string
	ok, err := a.until(ctx, how, func(ctx context.Context) (bool, error) {
		info, data, err := a.ask(ctx, v.http)
		if err != nil {
			return false, err
		}
		serving = serving[:0]
		for d := range info.Volumes {
			serving = append(serving, d)
		}
		slices.Sort(serving)
		return want(info, data), nil
	})
	e["in service after"] = list(serving)
	switch {
	case ok && how != failedToChange:
		return answer(mesh.VerdictOK, "", e)
	case how == failedToChange:
		return no("the DataNode refused the change: "+firstError(e["output"]), e)
	case err != nil:
		return wait(err.Error(), e)
	}
	return no("no effect: the DataNode works with "+list(serving), e)
}

// until looks until it is as wanted, for as long as it may take. When the
// DataNode has said that it did nothing, one look is enough.
func (a *Admin) until(ctx context.Context, how outcome, is func(ctx context.Context) (bool, error)) (bool, error) {
	for began := time.Now(); ; {
		ok, err := is(ctx)
		if ok || how != changed || time.Since(began) > a.o.Settle || !sleep(ctx, look) {
			return ok, err
		}
	}
}

// undo takes an edit back and tells the DataNode so: a directory that it could
// not add counts as a failed one until then.
func (a *Admin) undo(ctx context.Context, v *volumes, got *mesh.Answer, back func(context.Context, datadirs.Options, ...string) (edit.Change, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*a.o.Command)
	defer cancel()
	if _, err := back(ctx, v.file, v.dirs...); err != nil {
		got.Verdict = mesh.VerdictNo
		got.Reason += "; and it could not be taken back: " + err.Error()
		return
	}
	got.Evidence["undo"] = "the edit was taken back"
	if _, err := a.reconfigure(ctx, v, evidence{}); err != nil {
		got.Evidence["undo"] += "; the DataNode does not know it yet: " + err.Error()
	}
}

// twice takes the directories out and puts them back.
func (a *Admin) twice(ctx context.Context, v *volumes, back func(*jmx.DataNodeInfo, *jmx.Dataset) bool) mesh.Answer {
	if reason := v.mayDrop(); reason != "" {
		return no("the DataNode has to be told twice, and "+reason, v.evidence())
	}
	if _, err := datadirs.Drop(ctx, v.file, v.dirs...); err != nil {
		return refused(err, v.evidence())
	}
	_, errOut := a.reconfigure(ctx, v, evidence{})
	// Whatever came of it: the directories go back.
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*a.o.Command)
	defer cancel()
	if _, err := datadirs.Add(rest, v.file, v.dirs...); err != nil {
		return refused(err, v.evidence())
	}
	if errOut != nil {
		return wait(errOut.Error(), v.evidence())
	}
	return a.reconfigured(rest, v, back)
}
