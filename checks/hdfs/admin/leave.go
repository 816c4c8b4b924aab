package admin

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"alps/checks/hdfs/edit"
	"alps/checks/hdfs/hostfile"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// Bounds of a maintenance.
const (
	minMaintenance = time.Minute
	maxMaintenance = 30 * 24 * time.Hour
)

// Decommission has a DataNode leave, by its name in the NameNode's lists:
// hostname:port. What the NameNode does not act on is taken back.
func (a *Admin) Decommission(ctx context.Context, datanode string) (mesh.Answer, error) {
	return a.move(ctx, datanode, move{
		edit: hostfile.Add, want: []jmx.AdminState{jmx.Decommissioning, jmx.Decommissioned}, undo: true,
	})
}

// Recommission puts a DataNode back to work, from a decommission or from
// maintenance.
func (a *Admin) Recommission(ctx context.Context, datanode string) (mesh.Answer, error) {
	return a.move(ctx, datanode, move{edit: hostfile.Remove, want: []jmx.AdminState{jmx.InService}, back: true})
}

// Maintenance has a DataNode in maintenance for a time. Where the NameNode
// reads an exclude file, which knows no maintenance, it is no case for this.
func (a *Admin) Maintenance(ctx context.Context, datanode string, length time.Duration) (mesh.Answer, error) {
	if length < minMaintenance || length > maxMaintenance {
		return mesh.Answer{}, mesh.Errorf(mesh.Invalid, "maintenance of %s: want between %s and %s", length, minMaintenance, maxMaintenance)
	}
	return a.move(ctx, datanode, move{
		edit: func(ctx context.Context, o hostfile.Options, t hostfile.Target) (edit.Change, error) {
			return hostfile.Maintain(ctx, o, t, time.Now().Add(length))
		},
		want: []jmx.AdminState{jmx.EnteringMaint, jmx.InMaintenance}, undo: true, onlyJSON: true,
	})
}

// move is a way from one admin state to another.
type move struct {
	edit     func(ctx context.Context, o hostfile.Options, t hostfile.Target) (edit.Change, error)
	want     []jmx.AdminState
	undo     bool // what has no effect is taken back.
	back     bool // a DataNode that the NameNode does not know can go it, too.
	onlyJSON bool
}

// place is where a move is made.
type place struct {
	nn     site.NameNode
	file   hostfile.Options
	target hostfile.Target
	key    string // of the DataNode in the NameNode's lists.
}

// move edits the host file, has the NameNode read it, and looks what came of it.
func (a *Admin) move(ctx context.Context, datanode string, m move) (mesh.Answer, error) {
	p, stop, err := a.place(ctx, datanode, m)
	if err != nil || stop != nil {
		return deref(stop), err
	}
	before, stop := a.find(ctx, &p, m)
	if stop != nil {
		return *stop, nil
	}
	e := evidence{"namenode": p.nn.Name(), "datanode": p.key, "state before": before}
	if reason := p.unreadable(); reason != "" {
		return no(reason, e), nil
	}
	c, err := m.edit(ctx, p.file, p.target)
	if err != nil {
		return refused(err, e), nil
	}
	right := slices.Contains(m.want, jmx.AdminState(before))
	command := a.dfsadmin.refresh(p.nn)
	if a.o.DryRun {
		e["command"] = strings.Join(command, " ")
		if !c.Changed && right {
			e["command"] = "none: the state is right"
		}
		return answer(mesh.VerdictOK, "dry run: nothing was changed", e, evidenceOf(c)), nil
	}
	if !c.Changed && right {
		e["state"] = before
		return answer(mesh.VerdictOK, "", e, evidenceOf(c)), nil
	}
	got := a.settle(ctx, p, m, e)
	if got.Verdict != mesh.VerdictOK && m.undo && c.Changed {
		got = a.takeBack(ctx, p, got)
	}
	return with(got, c), nil
}

// unreadable says why Hadoop would take the file for an empty list, and so put
// every DataNode back to work; "" when it would not, or when the edit will say
// what is wrong with it.
func (p *place) unreadable() string {
	if p.file.Format != hostfile.JSON {
		return ""
	}
	b, err := os.ReadFile(p.file.Path)
	if err != nil {
		return ""
	}
	keys, err := hostfile.Unknown(b)
	if err != nil || len(keys) == 0 {
		return ""
	}
	return fmt.Sprintf("%s has the key %q, which Hadoop does not know: it would take the whole file for an empty list; remove it first", p.file.Path, keys[0])
}

func deref(a *mesh.Answer) mesh.Answer {
	if a == nil {
		return mesh.Answer{}
	}
	return *a
}

// place finds the NameNode of this node and its host file. The answer, when
// there is one, says why there is nothing to do here.
func (a *Admin) place(ctx context.Context, datanode string, m move) (place, *mesh.Answer, error) {
	entry, err := hostfile.ParseEntry(datanode)
	if err == nil && entry.Port == 0 {
		err = mesh.Errorf(mesh.Invalid, "read the DataNode %q: want its name and the port for transfers, as dn2:9866", datanode)
	}
	if err != nil {
		return place{}, nil, err
	}
	p := place{target: hostfile.Target{Entry: entry}, key: datanode}
	stop := func(answer mesh.Answer) (place, *mesh.Answer, error) { return p, &answer, nil }
	files, err := a.o.Site.HostFiles()
	if err != nil {
		return stop(refused(err))
	}
	p.file = hostfile.Options{Path: files.Exclude, Format: hostfile.Exclude, Create: a.o.Create, DryRun: a.o.DryRun}
	key := "dfs.hosts.exclude"
	if files.Combined {
		p.file.Path, p.file.Format, key = files.Include, hostfile.JSON, "dfs.hosts"
	} else if m.onlyJSON {
		return stop(answer(mesh.VerdictSkip, "this NameNode reads no JSON host file, so it knows no maintenance"))
	}
	if p.file.Path == "" {
		return stop(no(fmt.Sprintf("%s has no %s, so this NameNode reads no such file: set it, and restart the NameNode", a.o.Site.Dir, key)))
	}
	if p.nn, err = Local(ctx, a.o.Site); err != nil {
		return stop(refused(err))
	}
	return p, nil, nil
}

// find looks for the DataNode in the NameNode's lists, and takes from there in
// which spellings a file may have it. It returns the state, or an answer.
func (a *Admin) find(ctx context.Context, p *place, m move) (string, *mesh.Answer) {
	e := evidence{"namenode": p.nn.Name(), "datanode": p.key}
	info, err := a.jmx.NameNodeInfo(ctx, p.nn.HTTP)
	if err != nil {
		return "", new(wait(err.Error(), e))
	}
	addrs := make(map[string]string) // of all DataNodes, by their names.
	for k, n := range info.Live {
		addrs[k] = n.XferAddr
	}
	for k, n := range info.Dead {
		addrs[k] = n.XferAddr
	}
	_, lives := info.Live[p.key]
	_, dead := info.Dead[p.key]
	switch {
	case lives && dead:
		return "", new(no(fmt.Sprintf("%s has %s twice, alive and dead", p.nn.Name(), p.key), e))
	case !lives && !dead && m.back:
		return unknown, nil
	case !lives && !dead:
		return "", new(no(fmt.Sprintf("%s has no DataNode %s among its %d", p.nn.Name(), p.key, len(addrs)), e))
	}
	p.target.Also = spellings(p.key, addrs)
	state, _ := info.AdminState(p.key)
	return string(state), nil
}

// unknown is the state of a DataNode that a NameNode has never heard of.
const unknown = "unknown"

// spellings are the other entries by which a host file means one DataNode and
// no other one: its address, and host or IP alone where it is alone there.
func spellings(key string, addrs map[string]string) []hostfile.Entry {
	var out []hostfile.Entry
	add := func(s string) {
		if e, err := hostfile.ParseEntry(s); err == nil {
			out = append(out, e)
		}
	}
	add(addrs[key])
	for _, own := range []string{hostOf(key), hostOf(addrs[key])} {
		alone := own != ""
		for k, addr := range addrs {
			if k != key && (strings.EqualFold(hostOf(k), own) || hostOf(addr) == own || hostOf(addr) == hostOf(addrs[key])) {
				alone = false
			}
		}
		if alone {
			add(own)
		}
	}
	return out
}

func hostOf(address string) string {
	host, _, _ := strings.Cut(address, ":")
	return host
}

// settle has the NameNode read its file and looks for the state. What the
// command says goes into the evidence, for the state is the proof.
func (a *Admin) settle(ctx context.Context, p place, m move, e evidence) mesh.Answer {
	command := a.dfsadmin.refresh(p.nn)
	out, err := a.dfsadmin.run(ctx, command)
	e["command"], e["exit code"], e["output"] = strings.Join(command, " "), strconv.Itoa(out.code), out.text
	began := time.Now()
	failed := err != nil || out.code != 0
	var (
		state   string
		lookErr error
	)
	for {
		state, lookErr = a.state(ctx, p)
		right := slices.Contains(m.want, jmx.AdminState(state)) || m.back && state == unknown
		if right && (state != unknown || !failed) {
			e["state"] = state
			return answer(mesh.VerdictOK, "", e)
		}
		if failed || time.Since(began) > a.o.Settle || !sleep(ctx, look) {
			break
		}
	}
	e["state"] = state
	name := p.nn.Name()
	switch {
	case ctx.Err() != nil:
		return wait(fmt.Sprintf("there was no time left to see what %s makes of it", name), e)
	case lookErr != nil:
		return wait(lookErr.Error(), e)
	case failed && strings.Contains(out.text, "AccessControlException"), failed && strings.Contains(out.text, "uperuser privilege"):
		return no(fmt.Sprintf("%s does not let this user refresh its nodes", name), e)
	case failed:
		return wait(fmt.Sprintf("%s did not refresh its nodes, exit code %d", name, out.code), e)
	}
	return no(fmt.Sprintf("no effect: %s still has %s %s; %s", name, p.key, state, m.perhaps()), e)
}

// perhaps is what to look for when a refresh has no effect.
func (m move) perhaps() string {
	if m.back {
		return "another line of its file may cover it, or the file was not read"
	}
	return "its name may not resolve there, or the NameNode reads another file"
}

// state asks the NameNode for the state of the DataNode.
func (a *Admin) state(ctx context.Context, p place) (string, error) {
	info, err := a.jmx.NameNodeInfo(ctx, p.nn.HTTP)
	if err != nil {
		return "", err
	}
	state, _ := info.AdminState(p.key)
	if state == "" {
		return unknown, nil
	}
	return string(state), nil
}

// takeBack removes what had no effect, and has the NameNode read that as well.
// It does so also when whoever asked is gone.
func (a *Admin) takeBack(ctx context.Context, p place, got mesh.Answer) mesh.Answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*a.o.Command)
	defer cancel()
	if _, err := hostfile.Remove(ctx, p.file, p.target); err != nil {
		got.Verdict = mesh.VerdictNo
		got.Reason += "; and it could not be taken back: " + err.Error()
		return got
	}
	got.Evidence["undo"] = "the edit was taken back"
	out, err := a.dfsadmin.run(ctx, a.dfsadmin.refresh(p.nn))
	if err != nil || out.code != 0 {
		got.Evidence["undo"] += fmt.Sprintf("; the refresh after it ended with %d: the NameNode reads the file when it can", out.code)
	}
	return got
}

// sleep reports whether there was time to.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
