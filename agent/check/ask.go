package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strings"
	"time"

	"alps/agent/check/plugin"
	"alps/mesh"
)

// searchPath is the PATH of every script, the same on all nodes; a check may
// set another.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// probeGrace is how long a probe may go on after its time is over.
const probeGrace = time.Second

// outcome is what came of one run.
type outcome struct {
	status    mesh.Health
	output    string // foreign text, not tidied.
	truncated bool
	timeout   bool
	code      int
	samples   []mesh.Sample
	disks     []string  // not tidied.
	at        time.Time // when it ended.
	took      time.Duration
	left      *leftover // what could not be stopped.
}

func unknown(format string, args ...any) outcome {
	return outcome{status: mesh.HealthUnknown, output: fmt.Sprintf(format, args...)}
}

// asker asks what checks ask. Its methods may be called from any goroutine.
type asker struct {
	node   mesh.NodeID
	home   string
	probes Probes
	dialer net.Dialer
	http   httpClients
}

func newAsker(o *Options) *asker {
	a := &asker{node: o.Node, home: "/", probes: o.Probes, http: newHTTPClients()}
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		a.home = u.HomeDir
	}
	return a
}

func (a *asker) close() { a.http.close() }

// ask runs a check once. stuck is what is left of an earlier run, nil for
// nothing: while it is there nothing is run.
func (a *asker) ask(ctx context.Context, d *mesh.CheckDef, stuck *leftover) outcome {
	if stuck != nil {
		select {
		case <-stuck.gone:
		default:
			o := unknown("the run before cannot be stopped: %s", stuck.what)
			o.timeout, o.left = true, stuck
			return o
		}
	}
	began := time.Now()
	var o outcome
	switch d.Kind {
	case mesh.CheckScript:
		o = a.script(ctx, d)
	case mesh.CheckProbe:
		o = a.probe(ctx, d)
	case mesh.CheckTCP:
		o = a.tcp(ctx, d)
	case mesh.CheckHTTP:
		o = a.request(ctx, d)
	default:
		o = unknown("kind %q is unknown", d.Kind)
	}
	o.samples = append(o.samples, mesh.Sample{Name: "latency", Value: time.Since(began).Seconds(), Unit: "s"})
	return o
}

// late is the outcome of a check that took too long.
func late(d *mesh.CheckDef, what string) outcome {
	return outcome{
		status: d.Kind.TimeoutHealth(), timeout: true, output: fmt.Sprintf("%s within %s", what, timeoutOf(d)),
	}
}

// tcp proves that the address takes connections: it opens one and closes it.
func (a *asker) tcp(ctx context.Context, d *mesh.CheckDef) outcome {
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(d))
	defer cancel()
	conn, err := a.dialer.DialContext(ctx, "tcp", d.Address)
	switch {
	case err == nil:
		_ = conn.Close() // nothing was written.
		return outcome{status: mesh.HealthPassing, output: "connect to " + d.Address + ": ok"}
	case isTimeout(ctx, err):
		return late(d, "connect to "+d.Address+": no answer")
	}
	return outcome{status: mesh.HealthCritical, output: fmt.Sprintf("connect to %s: %v", d.Address, bare(err))}
}

// probe runs Go code of a pack. One that does not come back in time is left
// alone, and not run again until it has.
func (a *asker) probe(ctx context.Context, d *mesh.CheckDef) outcome {
	if a.probes == nil {
		return unknown("this agent knows no probes, and so not %s", d.Probe)
	}
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(d))
	done := make(chan outcome, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				done <- unknown("probe %s has a fault: %v", d.Probe, p)
			}
		}()
		f := a.probes(ctx, d.Probe, d.Settings)
		if !isHealth(f.Status) {
			f = Found{Status: mesh.HealthUnknown, Output: fmt.Sprintf("probe %s says %q, which is no status", d.Probe, f.Status)}
		}
		done <- outcome{status: f.Status, output: f.Output, samples: f.Samples, disks: f.Disks}
	}()
	if o, ok := await(ctx, done); ok {
		o.timeout = o.status == mesh.HealthUnknown && errors.Is(ctx.Err(), context.DeadlineExceeded)
		return o
	}
	o := late(d, "probe "+d.Probe+" did not come back")
	o.left = &leftover{gone: gone, what: "probe " + d.Probe + " hangs"}
	return o
}

// await waits until done gives something, for probeGrace after the end of ctx
// at most.
func await(ctx context.Context, done <-chan outcome) (outcome, bool) {
	select {
	case o := <-done:
		return o, true
	case <-ctx.Done():
	}
	t := time.NewTimer(probeGrace)
	defer t.Stop()
	select {
	case o := <-done:
		return o, true
	case <-t.C:
		return outcome{}, false
	}
}

func isHealth(h mesh.Health) bool {
	switch h {
	case mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical, mesh.HealthUnknown:
		return true
	}
	return false
}

// script runs a plugin.
func (a *asker) script(ctx context.Context, d *mesh.CheckDef) outcome {
	marks := []string{"ALPS_CHECK=" + d.ID, "ALPS_NODE=" + string(a.node)}
	env := []string{"PATH=" + searchPath, "HOME=" + a.home}
	for k, v := range d.Env {
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, k+"=") })
		if k != "ALPS_CHECK" && k != "ALPS_NODE" {
			env = append(env, k+"="+v)
		}
	}
	slices.Sort(env)
	r := plugin.Run(ctx, plugin.Spec{
		Command: d.Command, Env: append(env, marks...), Marks: marks, Timeout: timeoutOf(d),
	})
	return scriptOutcome(d, &r)
}

func scriptOutcome(d *mesh.CheckDef, r *plugin.Result) outcome {
	if r.Err != nil {
		o := unknown("%v", r.Err)
		o.code = r.Code
		return o
	}
	text, samples := plugin.Parse(r.Stdout)
	if text == "" {
		text = strings.TrimSpace(string(r.Stderr))
	}
	o := outcome{output: text, samples: samples, truncated: r.Truncated, code: r.Code}
	switch {
	case r.Timeout:
		l := late(d, "the script did not end")
		o.status, o.timeout, o.output = l.status, true, with(l.output, text)
		o.code = 0
	case r.Signal != "":
		o.status, o.output = mesh.HealthUnknown, with("the script was ended by "+r.Signal, text)
	default:
		o.status, o.output = meaning(r.Code, text)
	}
	if len(r.Left) > 0 {
		o.output = with(o.output, "processes are left that cannot be stopped: "+strings.Join(r.Left, ", "))
	}
	if r.Gone != nil {
		o.left = &leftover{gone: r.Gone, what: strings.Join(r.Left, ", ")}
	}
	return o
}

// The exit codes by which a shell says that it could not run a command.
const (
	notExecutable = 126
	notFound      = 127
)

// meaning says what an exit code means: 0 to 3 as for a Nagios plugin, and any
// other as for a check of Consul, so that `curl` of a service that is down is
// critical. A shell that could not run the command is the asker's own failure.
func meaning(code int, text string) (mesh.Health, string) {
	switch code {
	case 0:
		return mesh.HealthPassing, text
	case 1:
		return mesh.HealthWarning, text
	case 2:
		return mesh.HealthCritical, text
	case 3:
		return mesh.HealthUnknown, text
	case notExecutable, notFound:
		return mesh.HealthUnknown, with(fmt.Sprintf("exit code %d: the command cannot be run", code), text)
	}
	return mesh.HealthCritical, with(fmt.Sprintf("exit code %d", code), text)
}

// with puts what the script said behind what we say of it.
func with(ours, text string) string {
	if text == "" {
		return ours
	}
	return ours + ": " + text
}
