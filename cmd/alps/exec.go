package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/mesh/nodeset"
	"alps/mesh/query"
	"alps/server/api/client"
	v1 "alps/server/api/v1"
)

type execFlags struct {
	target, script, runAs, batch, maxFail            string
	env                                              []string
	key                                              operatorKey
	timeout, grace, expire, wait                     time.Duration
	canary                                           int
	idempotent, allowMissing, detach, label, confirm bool
	dryRun, yes                                      bool
}

func newExec(a *app) *cobra.Command {
	var f execFlags
	c := &cobra.Command{
		Use:   "exec -t EXPR [flags] -- COMMAND [ARG…]",
		Short: "Run a command or a script on the nodes that an expression names",
		Long: `Run a command or a script on every node that an expression names, and show
what each of them said, folded where they said the same.

The list of nodes is fixed before anything runs and is the denominator of
everything that follows: a node that is away stays in it, and exec exits with 0
only if every node on it is OK. A node that comes back before the job expires
still runs it.

One argument after -- is a line for /bin/sh; several are a command and its
arguments as they stand. With --script the arguments after -- are the script's.

Ctrl-C asks whether to cancel: cancelling stops the whole process tree on every
node and says how many nodes have confirmed it.

` + exitHelp,
		Example: `  alps exec -t role=hadoop -- uptime
  alps exec -t 'role=hadoop rack=11' -- 'df -h /data* | tail -n +2'
  alps exec -t bj-e-hadoop01-11-[203-204] --script ./fix.sh -- --dry-run
  alps exec -t all --batch 10% --max-fail 2 -- systemctl restart ntpd`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.exec(cmd.Context(), f, args)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.target, "target", "t", "", `which nodes: role=hadoop, web[01-20], 'mem_gb>64 not rack=11', all (required)`)
	fl.StringVar(&f.script, "script", "", "run this file instead of a command")
	fl.StringVarP(&f.runAs, "run-as", "u", "", "user to run as; nodes allow what their config lists")
	fl.StringArrayVarP(&f.env, "env", "e", nil, "KEY=VALUE for the process (repeat)")
	fl.DurationVar(&f.timeout, "timeout", 0, "stop a process that runs longer (default: the server's, 2h)")
	fl.DurationVar(&f.grace, "grace", 0, "time between TERM and KILL (default 10s)")
	fl.DurationVar(&f.expire, "expire", 0, "how long a node that is away may still start it (default: the server's, 1h)")
	fl.DurationVar(&f.wait, "wait", 10*time.Second, "how long to wait for nodes that have no link")
	fl.IntVar(&f.canary, "canary", 0, "run on this many nodes first")
	fl.BoolVar(&f.confirm, "confirm", false, "after the canary wait for alps job open-wave")
	fl.StringVar(&f.batch, "batch", "", "run on this many nodes at once, N or N%")
	fl.StringVar(&f.maxFail, "max-fail", "", "open no further batch after this many failures, N or N%")
	fl.BoolVar(&f.idempotent, "idempotent", false, "a node that restarts in the middle may run it again")
	fl.BoolVar(&f.allowMissing, "allow-missing", false, "names that no node has are no error")
	fl.BoolVarP(&f.detach, "detach", "d", false, "print the job's id and do not wait")
	fl.BoolVarP(&f.label, "label", "l", false, "print each line behind its node's name as nodes finish, do not fold")
	fl.BoolVarP(&f.dryRun, "dry-run", "n", false, "only show which nodes would run it")
	fl.BoolVarP(&f.yes, "yes", "y", false, "at Ctrl-C cancel without asking")
	f.key.flags(fl)
	_ = c.MarkFlagRequired("target")
	return a.remote(c)
}

func (a *app) exec(ctx context.Context, f execFlags, args []string) error {
	expr, err := query.Parse(f.target)
	if err != nil {
		return fmt.Errorf("--target: %w", err)
	}
	req, err := f.request(args)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.dryRun(ctx, c, expr, f.allowMissing)
	}
	job, err := a.submit(ctx, c, req, f.key)
	if err != nil {
		return err
	}
	if f.detach {
		if a.json {
			return a.printJSON(job)
		}
		_, err := fmt.Fprintln(a.out, job.ID)
		return err
	}
	w := &follower{app: a, client: c, id: job.ID, began: time.Now(), flags: f}
	return w.run(ctx)
}

// dryRun shows the nodes that an expression means now. It is an error in the
// cases in which the job would be refused for its targets.
func (a *app) dryRun(ctx context.Context, c *client.Client, expr *query.Expr, allowMissing bool) error {
	if names := expr.Names(); len(names) > 0 && !allowMissing {
		there, err := allNodes(ctx, c, nodeset.Fold(names))
		if err != nil {
			return err
		}
		missing := slices.DeleteFunc(names, func(name string) bool {
			return slices.ContainsFunc(there, func(n mesh.Node) bool { return string(n.Name) == name })
		})
		if len(missing) > 0 {
			return mesh.Errorf(mesh.NotFound, "no such node: %s", nodeset.Fold(missing)).
				WithHint("alps node list; or --allow-missing to go on without these")
		}
	}
	nodes, err := allNodes(ctx, c, expr.String())
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		return mesh.Errorf(mesh.NoTargets, "the expression %q matches no node", expr.String()).
			WithHint("alps node list; and alps node list --help for the fields")
	}
	return a.printNodes(v1.NodeList{Nodes: nodes, Total: len(nodes)})
}

// allNodes reads every page of the nodes that a query means.
func allNodes(ctx context.Context, c *client.Client, q string) ([]mesh.Node, error) {
	var all []mesh.Node
	for f := (v1.NodeFilter{Query: q}); ; {
		page, err := c.Nodes(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Nodes...)
		if page.Next == "" {
			return all, nil
		}
		f.After = page.Next
	}
}

// request builds what is sent from flags and arguments.
func (f execFlags) request(args []string) (v1.JobRequest, error) {
	req := v1.JobRequest{
		Target: f.target, RunAs: f.runAs,
		Timeout: seconds(f.timeout), Grace: seconds(f.grace), ExpiresIn: seconds(f.expire),
		Idempotent: f.idempotent, AllowMissing: f.allowMissing, SubmitToken: string(mesh.NewJobID()),
		Canary: f.canary, Confirm: f.confirm, Batch: f.batch, MaxFail: f.maxFail,
	}
	for _, kv := range f.env {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return req, usagef("--env %q is not KEY=VALUE", kv)
		}
		if req.Env == nil {
			req.Env = make(map[string]string)
		}
		req.Env[k] = v
	}
	switch {
	case f.script != "":
		body, err := readScript(f.script)
		if err != nil {
			return req, err
		}
		req.Script = &v1.ScriptFile{Name: filepath.Base(f.script), Body: body}
		req.Args = args
	case len(args) == 0:
		return req, usagef("there is nothing to run: give a command behind --, or --script FILE")
	default:
		req.Command = commandLine(args)
	}
	return req, nil
}

// seconds rounds up, so that what was asked for is never cut short.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// commandLine is the argument vector for what stands behind "--". One word
// that a shell would take apart is a line for the shell; anything else is
// passed as it stands.
func commandLine(args []string) []string {
	if len(args) == 1 && strings.ContainsAny(args[0], " \t\n\"'\\$`;&|<>*?()[]{}~#!=") {
		return []string{"/bin/sh", "-c", args[0]}
	}
	return args
}

// readScript reads a script that the server would take; what it would refuse
// is refused here, before anything is sent.
func readScript(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the script: %w", err).WithHint("ls -l %s", filepath.Dir(path))
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, mesh.Errorf(mesh.Invalid, "read the script: %s is not a regular file", path)
	case info.Size() == 0:
		return nil, mesh.Errorf(mesh.Invalid, "read the script: %s is empty", path)
	case info.Size() > mesh.MaxScript:
		return nil, mesh.Errorf(mesh.TooLarge, "read the script: %s has %d bytes, the limit is %d", path, info.Size(), mesh.MaxScript).
			WithHint("put the large part where the nodes can fetch it, and send the script that does")
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the script: %w", err)
	}
	return body, nil
}

// submit sends the job, and signs it with the operator's key if the server's
// own grant does not cover it.
func (a *app) submit(ctx context.Context, c *client.Client, req v1.JobRequest, k operatorKey) (v1.Job, error) {
	sub, err := c.Submit(ctx, req)
	if err != nil {
		return v1.Job{}, err
	}
	return a.signed(ctx, c, sub, k, func(payload []byte) error { return sameJob(req, payload) })
}

// signed completes what an operator's key must sign. check decides whether
// the bytes are what was asked for: a server that was taken over must not get
// a signature for something else.
func (a *app) signed(ctx context.Context, c *client.Client, sub v1.Submission, k operatorKey, check func([]byte) error) (v1.Job, error) {
	if d := sub.Draft; d != nil {
		if err := check(d.Payload); err != nil {
			return v1.Job{}, err
		}
		env, err := k.seal(d)
		if err != nil {
			return v1.Job{}, err
		}
		if sub, err = c.Sign(ctx, d.Job, env); err != nil {
			return v1.Job{}, err
		}
	}
	if sub.Warning != "" {
		fmt.Fprintf(a.err, "alps: %s\n", sub.Warning)
	}
	if sub.Job == nil {
		return v1.Job{}, fmt.Errorf("the server answers with neither a job nor a draft")
	}
	return *sub.Job, nil
}

// confirmCancel asks on the terminal; without one it never cancels by itself.
// From now on another Ctrl-C ends the program at once.
func (a *app) confirmCancel(yes bool) bool {
	signal.Reset(os.Interrupt)
	if yes {
		return true
	}
	if !a.interactive() {
		return false
	}
	fmt.Fprint(a.err, "\ncancel the job on all nodes? [y/N] ")
	var answer string
	_, _ = fmt.Fscanln(a.in, &answer)
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(answer))
}
