package admin

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"time"

	"alps/checks/hdfs/edit"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// Defaults of Options.
const (
	defaultSettle  = 15 * time.Second
	defaultCommand = 20 * time.Second
	look           = 250 * time.Millisecond // between two looks at JMX.
)

// Options say where to work. Only Site is required.
type Options struct {
	Site *site.Site
	// DryRun says what would be done, and changes nothing.
	DryRun bool
	// Create makes an exclude file that is missing.
	Create bool
	// Program is Hadoop's hdfs; "" means that of PATH.
	Program string
	// Settle is how long a state may take to show; zero means 15 seconds.
	Settle time.Duration
	// Command bounds one call of the program; zero means 20 seconds.
	Command time.Duration
}

// Admin works on the HDFS of one node. It starts nothing by itself and may be
// used from one goroutine at a time.
type Admin struct {
	o        Options
	jmx      *jmx.Client
	dfsadmin dfsadmin
}

// New makes an Admin.
func New(o Options) (*Admin, error) {
	if o.Site == nil {
		return nil, errors.New("make an Admin: there is no Site")
	}
	o.Settle, o.Command = cmp.Or(o.Settle, defaultSettle), cmp.Or(o.Command, defaultCommand)
	return &Admin{
		o: o, jmx: jmx.New(jmx.Options{}),
		dfsadmin: dfsadmin{program: cmp.Or(o.Program, "hdfs"), conf: o.Site.Dir, timeout: o.Command},
	}, nil
}

// Prepare reads the configuration in which an Admin works. Where Hadoop is not
// installed there is none, and the answer says why nothing can be done.
func Prepare(conf string, o Options) (*Admin, *mesh.Answer, error) {
	var err error
	if o.Site, err = site.Load(conf); err != nil {
		return nil, new(no(err.Error())), nil
	}
	a, err := New(o)
	if err != nil {
		return nil, nil, err
	}
	if err := a.dfsadmin.installed(); err != nil {
		return nil, new(no(err.Error())), nil
	}
	return a, nil, nil
}

// evidence is what an answer leans on.
type evidence map[string]string

func answer(v mesh.Verdict, reason string, parts ...evidence) mesh.Answer {
	all := make(map[string]string)
	for _, p := range parts {
		maps.Copy(all, p)
	}
	return mesh.Answer{Verdict: v, Reason: reason, Evidence: all}
}

func no(reason string, parts ...evidence) mesh.Answer {
	return answer(mesh.VerdictNo, reason, parts...)
}

func wait(reason string, parts ...evidence) mesh.Answer {
	return answer(mesh.VerdictWait, reason, parts...)
}

// refused is the answer to an edit that could not be made: one that others are
// in the way of may be tried again.
func refused(err error, parts ...evidence) mesh.Answer {
	if errors.Is(err, edit.ErrBusy) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return wait(err.Error(), parts...)
	}
	if e, ok := errors.AsType[*mesh.Error](err); ok && e.Hint != "" {
		return no(err.Error()+" ("+e.Hint+")", parts...)
	}
	return no(err.Error(), parts...)
}

// evidenceOf is what a change leaves to look at.
func evidenceOf(c edit.Change) evidence {
	e := evidence{"file": c.Path}
	if c.Changed {
		e["diff"] = c.Diff()
	} else {
		e["diff"] = "none: it is so already"
	}
	if c.Backup != "" {
		e["backup"] = c.Backup
	}
	return e
}

// with adds the evidence of a change.
func with(got mesh.Answer, c edit.Change) mesh.Answer {
	maps.Copy(got.Evidence, evidenceOf(c))
	return got
}
