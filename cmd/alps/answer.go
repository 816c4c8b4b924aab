package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"alps/mesh"
)

// What a script is told: envDryRun is 1 when it must not change anything, and
// envStep is the name of the step when a plan runs it.
const (
	envDryRun = "ALPS_DRY_RUN"
	envStep   = "ALPS_STEP"
)

// verdictHelp ends the help of the verbs that scripts of the library lean on.
const verdictHelp = `The last line of the output is what a policy's plan reads: one JSON object with
the verdict and its evidence. ALPS_DRY_RUN=1 is --dry-run.

Exit codes: 0 done, 1 not, 2 the question makes no sense, 4 nobody may do that.
In a step of a plan (ALPS_STEP) there is no 1: the verdict says it.`

// answer prints the last line of a script, and ends with 1 unless all is well.
// A plan wants 0 with every answer: it takes the reason from no other.
func (a *app) answer(v mesh.Answer) error {
	if err := a.printAnswer(v); err != nil {
		return err
	}
	if v.Verdict != mesh.VerdictOK && os.Getenv(envStep) == "" {
		return silentError{exitFailed}
	}
	return nil
}

// dryRun adds the flag of that name, whose default a script's environment sets.
func dryRun(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "dry-run", os.Getenv(envDryRun) == "1", "say what would be done and change nothing")
}

// fewWords splits a list at its commas, without empty items.
func fewWords(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
