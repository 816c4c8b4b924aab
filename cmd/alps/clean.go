package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"alps/agent/clean"
	"alps/mesh"
)

func newClean(a *app) *cobra.Command {
	return group("clean", "Remove what a full disk can do without", newCleanLogs(a))
}

// maxListed bounds the list of files that is printed.
const maxListed = 500

func newCleanLogs(a *app) *cobra.Command {
	var o clean.Options
	var match, free string
	c := &cobra.Command{
		Use:   "logs DIR --match PATTERN[,PATTERN]… --days N",
		Short: "Remove old log files of a directory by a rule, and nothing else",
		Long: `Remove old log files of a directory and of those below it, the oldest first.

Whatever the rule says, a file stays that was written today, that a process has
open, that has another name elsewhere, or that is no regular file. No symbolic
link is followed and no other file system entered.

--dry-run lists exactly what would go. What is told as freed is what the files
took of the disk; what the file system had free before and after stands beside
it.

` + verdictHelp,
		Example: `  alps clean logs /var/log/hdfs --match '*.log.*,*.out.*' --days 7 --keep 2 --dry-run
  alps clean logs /var/log/hdfs --match '*.log.*' --days 7 --free 20%`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.Rule.Free, err = clean.ParseFree(free); err != nil {
				return err
			}
			o.Rule.Dir, o.Rule.Match, o.Now = args[0], fewWords(match), time.Now()
			r, err := clean.Run(cmd.Context(), o)
			if r == nil {
				return err
			}
			if a.json {
				if err := a.printJSON(r); err != nil || len(r.Failed) == 0 {
					return err
				}
				return silentError{exitFailed}
			}
			a.tellCleaned(r)
			return cmp.Or(err, a.answer(cleanAnswer(r)))
		},
	}
	fl := c.Flags()
	fl.StringVar(&match, "match", "", "what the files' names look like, such as '*.log.*,gc-*'")
	fl.IntVar(&o.Rule.Days, "days", 0, "how many days ago a file was last written")
	fl.IntVar(&o.Rule.Keep, "keep", 0, "how many of each pattern stay, the newest")
	fl.StringVar(&free, "free", "", "stop when so much is freed (10G), or that share of the disk is free (20%)")
	dryRun(c, &o.DryRun)
	_ = c.MarkFlagRequired("match")
	_ = c.MarkFlagRequired("days")
	return c
}

func (a *app) tellCleaned(r *clean.Report) {
	did := "removed"
	if r.DryRun {
		did = "would remove"
	}
	for _, f := range r.Files[:min(len(r.Files), maxListed)] {
		fmt.Fprintf(a.out, "%s %s, %d bytes, last written %s\n", did, printable(f.Path), f.Bytes, f.Wrote.Format(time.DateTime))
	}
	if n := len(r.Files) - maxListed; n > 0 {
		fmt.Fprintf(a.out, "%s %d more\n", did, n)
	}
	for _, f := range r.Failed[:min(len(r.Failed), maxListed)] {
		fmt.Fprintf(a.err, "alps: remove %s: %s\n", printable(f.Path), printable(f.Err))
	}
}

// cleanAnswer is the answer of a run.
func cleanAnswer(r *clean.Report) mesh.Answer {
	v := mesh.Answer{Verdict: mesh.VerdictOK, Evidence: map[string]string{
		"directory": r.Dir, "files": strconv.Itoa(len(r.Files)), "bytes": strconv.FormatInt(r.Freed, 10),
		"free_before": strconv.FormatInt(r.Before, 10), "free_after": strconv.FormatInt(r.After, 10),
	}}
	var left []string
	for _, why := range slices.Sorted(maps.Keys(r.Left)) {
		left = append(left, fmt.Sprintf("%d %s", r.Left[why], why))
	}
	if len(left) > 0 {
		v.Evidence["left"] = strings.Join(left, ", ")
	}
	if r.DryRun {
		v.Evidence["dry_run"] = "true"
	}
	switch {
	case len(r.Failed) > 0:
		v.Verdict = mesh.VerdictNo
		v.Reason = fmt.Sprintf("%d of %d files could not be removed: %s: %s", len(r.Failed), len(r.Failed)+len(r.Files), r.Failed[0].Path, r.Failed[0].Err)
	case len(r.Files) == 0:
		v.Reason = "nothing may go by this rule"
	case !r.Reached:
		v.Reason = "everything that may go is gone, and it was not enough"
	}
	return v
}
