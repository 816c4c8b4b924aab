package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"alps/mesh"
	"alps/mesh/config"
)

// policyText is the policy of NAME. It and the rule above it have at most
// twelve lines.
const policyText = `policy "NAME" {
  rule   = "RULE"
  script = "NAME"
  mode   = "observe" # when you agree with what it would do: "auto"
}
`

const ruleText = `rule "RULE" {
  check = "CHECK"
  for   = "1m"
}

`

const scriptText = `#!/bin/sh
# NAME: what it mends, in a sentence. Whether it helped is for the check to say.
#
# It prints what it did, exits with 0 only when it did it, and says why not on
# standard error. It may run twice: what is done already is no error.
set -eu

if [ "${ALPS_DRY_RUN:-}" = 1 ]; then
	echo "NAME: here stands what it would do on ${ALPS_NODE:-this node}"
	exit 0
fi
echo "NAME: nothing is done yet on ${ALPS_NODE:-this node}: write what mends it"
`

const manifestText = `# What NAME says of itself; docs/definitions.md explains the keys.
description = "What it does, in a sentence."
changes     = "What it changes on the node, in a sentence."
timeout     = "30s"
dry_run     = true

# A block for each argument:
#
# parameter "what" {
#   description = "What it is about."
#   required    = true
# }
`

// newPolicy is what is asked for.
type newPolicy struct {
	Name, Rule, Check, Dir string
}

func newRemedyNew(a *app) *cobra.Command {
	var p newPolicy
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a policy and its script to begin with",
		Long: `Write a policy, its script and what the script says of itself, to begin with:

  rules.d/NAME.hcl             the policy, and its rule unless there is one
  scripts/NAME/run             the script
  scripts/NAME/manifest.hcl

They lie where a server looks for them when --dir is its data_dir. Nothing that
is there is written over. It needs no server, and changes none: the policy
observes, and is in force when the server has read it.`,
		Example: `  alps remedy new clear-cache --check cache
  alps remedy new mend-web --rule web-down --dir /var/lib/alps-server`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p.Name = args[0]
			files, err := p.write()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string][]string{"wrote": files})
			}
			a.tellNext(files)
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&p.Rule, "rule", "", "the rule whose incidents it is for; with --check, what to call a new one")
	fl.StringVar(&p.Check, "check", "", "write a rule for this check (default: without --rule, one of the policy's name)")
	fl.StringVar(&p.Dir, "dir", ".", "where to")
	return c
}

func (a *app) tellNext(files []string) {
	for _, f := range files {
		fmt.Fprintf(a.out, "wrote %s\n", printable(f))
	}
	run := printable(files[1])
	fmt.Fprintf(a.out, `next:
  write the script, and try it on one node:  alps exec -t NODE --script %s
  have the server's grant cover it:          alps keys grant … --script %[1]s
  have the server read it:                   systemctl reload alps-server
  see what it would do:                      alps remedy list
`, run)
}

// scriptWord is the name of a script, as the library wants it.
var scriptWord = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// texts returns what is written, by the path below the directory, in order.
func (p *newPolicy) texts() ([]newFile, error) {
	if !scriptWord.MatchString(p.Name) {
		return nil, mesh.Errorf(mesh.Invalid, "%q is not the name of a script: want lower-case letters, digits, _ and -, at most 64 of them", p.Name)
	}
	text := policyText
	rule, check := p.Rule, p.Check
	if rule == "" {
		rule = p.Name
		if check == "" {
			check = p.Name
		}
	}
	if check != "" {
		text = ruleText + text
	}
	for _, word := range []string{rule, check} {
		if strings.ContainsAny(word, "\"\\\n${%") {
			return nil, mesh.Errorf(mesh.Invalid, "%q cannot be written as it is into a policy", word)
		}
	}
	fill := strings.NewReplacer("NAME", p.Name, "RULE", rule, "CHECK", check)
	policy := fill.Replace(text)
	alone := policy
	if check == "" {
		alone = fill.Replace(strings.ReplaceAll(ruleText, "CHECK", "any")) + policy // the rule is in another file.
	}
	at := filepath.Join("rules.d", p.Name+".hcl")
	if _, err := config.ParseRules(at, []byte(alone)); err != nil {
		return nil, err
	}
	script := filepath.Join("scripts", p.Name)
	return []newFile{
		{at, policy, 0o644},
		{filepath.Join(script, "run"), fill.Replace(scriptText), 0o755},
		{filepath.Join(script, "manifest.hcl"), fill.Replace(manifestText), 0o644},
	}, nil
}

type newFile struct {
	path, text string
	mode       fs.FileMode
}

// write makes the files, all of them or none, and returns their paths.
func (p *newPolicy) write() (paths []string, err error) {
	files, err := p.texts()
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(p.Dir); err != nil || !info.IsDir() {
		return nil, mesh.Errorf(mesh.Invalid, "there is no directory %s", p.Dir)
	}
	script := filepath.Join(p.Dir, filepath.Dir(files[1].path))
	if err := notThere(filepath.Join(p.Dir, files[0].path), script); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		for _, path := range paths { // what there was before is not among them.
			_ = os.Remove(path)
		}
		_ = os.Remove(script)
		paths = nil
	}()
	for _, f := range files {
		path := filepath.Join(p.Dir, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return paths, mesh.Errorf(mesh.Invalid, "make a directory: %w", err)
		}
		if err := writeNew(path, []byte(f.text), f.mode); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}
