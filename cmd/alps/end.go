package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"alps/agent/end"
	"alps/mesh"
)

func newEnd(a *app) *cobra.Command {
	var o end.Options
	c := &cobra.Command{
		Use:   "end [--pid-file FILE] [--command PATTERN --user USER]",
		Short: "End one process that is stuck, and prove that it is gone",
		Long: `End one process: SIGTERM, after the grace SIGKILL, and then look whether exactly
this process is gone. It is named by its pid file, or by its whole command line
with * for what differs, and its user.

More than one match is refused, and so are process 1, threads of the kernel, the
agent, and whatever has started this program. A pid file that is older than the
process with its number names nobody. That there is no such process is no error.

` + verdictHelp,
		Example: `  alps end --pid-file /run/hadoop/datanode.pid --dry-run
  alps end --command '/usr/bin/java *.DataNode' --user hdfs --grace 30s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := end.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(r); err != nil || r.Gone || o.DryRun {
					return err
				}
				return silentError{exitFailed}
			}
			return a.answer(endAnswer(a, r, o.DryRun))
		},
	}
	fl := c.Flags()
	fl.StringVar(&o.PIDFile, "pid-file", "", "the file that holds its number")
	fl.StringVar(&o.Command, "command", "", "its whole command line, with * for anything")
	fl.StringVar(&o.User, "user", "", "the user that it runs for")
	fl.DurationVar(&o.Grace, "grace", 10*time.Second, "how long it has after SIGTERM")
	fl.DurationVar(&o.Within, "within", 10*time.Second, "how long it has after SIGKILL")
	dryRun(c, &o.DryRun)
	return c
}

// endAnswer says what was done, and returns the answer.
func endAnswer(a *app, r *end.Report, dry bool) mesh.Answer {
	v := mesh.Answer{Verdict: mesh.VerdictOK}
	if r.PID == 0 {
		v.Reason = "there is no such process"
		return v
	}
	v.Evidence = map[string]string{
		"pid": strconv.Itoa(r.PID), "name": r.Name, "command": r.Command, "started": r.Started.Format(time.RFC3339), "signal": r.Signal,
	}
	who := fmt.Sprintf("process %d (%s), which began at %s", r.PID, r.Name, r.Started.Format(time.DateTime))
	switch {
	case dry:
		delete(v.Evidence, "signal")
		v.Evidence["dry_run"] = "true"
		fmt.Fprintf(a.out, "would end %s\n", printable(who))
	case r.Gone:
		fmt.Fprintf(a.out, "ended %s, with %s\n", printable(who), r.Signal)
	default:
		v.Verdict = mesh.VerdictNo
		v.Reason = fmt.Sprintf("process %d (%s) is still there after SIGKILL, in state %s", r.PID, r.Name, r.State)
		if r.State == "D" {
			v.Reason += ": it waits for a device, and no signal reaches it"
		}
	}
	return v
}
