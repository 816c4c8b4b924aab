package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// hint finds what a text tells the user to type: alps, a verb, and perhaps
// the verb below it.
var hint = regexp.MustCompile("(?:`|\"|: |try |; |\\. |make another: )alps ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?")

// TestHintsNameCommands reads every string of the sources that tells a user
// what to type, and looks for that command.
func TestHintsNameCommands(t *testing.T) {
	root := newRoot(&app{})
	found := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if !strings.Contains(line, `"`) {
				continue
			}
			for _, m := range hint.FindAllStringSubmatch(line, -1) {
				found++
				if !exists(root, m[1], m[2]) {
					t.Errorf("%s tells the user to type %q, which does not exist", path, strings.TrimSpace("alps "+m[1]+" "+m[2]))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Errorf("only %d hints were found: the pattern is wrong", found)
	}
}

// exists reports whether a verb exists, and the one below it if the verb only
// holds others.
func exists(root *cobra.Command, verb, below string) bool {
	for _, c := range root.Commands() {
		if c.Name() != verb {
			continue
		}
		if c.Runnable() || !c.HasAvailableSubCommands() { // one that is hidden is nobody's to type.
			return true
		}
		for _, sub := range c.Commands() {
			if sub.Name() == below {
				return true
			}
		}
		return false
	}
	return false
}
