package hostfile

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"alps/checks/hdfs/edit"
	"alps/mesh"
)

// Format says which kind a host file is. There is no default: the two mean
// different things by the same text.
type Format string

// The kinds of host files.
const (
	Exclude Format = "exclude" // of HostFileManager.
	JSON    Format = "json"    // of CombinedHostFileManager.
)

// Options say which file.
type Options struct {
	Path   string
	Format Format
	Create bool // make an exclude file that is missing. A JSON file is never made.
	DryRun bool // change nothing.
}

// Add has the target leave: it is excluded, or its state is DECOMMISSIONED. A
// JSON entry NORMAL that is the last of its kind is refused with mesh.Conflict,
// for without one the file would let every unlisted DataNode in.
func Add(ctx context.Context, o Options, t Target) (edit.Change, error) {
	return apply(ctx, o, t, func(old []byte) ([]byte, error) {
		if o.Format == Exclude {
			return addLine(old, t)
		}
		return addState(old, t, change{state: stateDecommissioned})
	})
}

// Remove puts the target back to work, from maintenance too. A JSON entry
// becomes NORMAL when the file lists those that may work, and is removed when
// it does not: the first NORMAL would shut out whoever is not listed.
func Remove(ctx context.Context, o Options, t Target) (edit.Change, error) {
	o.Create = false
	return apply(ctx, o, t, func(old []byte) ([]byte, error) {
		if o.Format == Exclude {
			return removeLine(old, t)
		}
		return removeState(old, t)
	})
}

// Maintain has the target in maintenance until a moment in the future, which
// only a JSON file can say. A maintenance that lasts as long already, but for a
// tenth, stays as it is, so that the same command may be given again. A
// DataNode that is to leave for good is refused with mesh.Conflict.
func Maintain(ctx context.Context, o Options, t Target, until time.Time) (edit.Change, error) {
	if o.Format != JSON {
		return edit.Change{}, mesh.Errorf(mesh.Invalid, "edit %s: an exclude file knows no maintenance", o.Path)
	}
	left := time.Until(until)
	if left <= 0 {
		return edit.Change{}, mesh.Errorf(mesh.Invalid, "edit %s: maintenance has to end in the future, got %s", o.Path, until.UTC().Format(time.RFC3339))
	}
	return apply(ctx, o, t, func(old []byte) ([]byte, error) {
		return addState(old, t, change{stateMaintenance, until.UnixMilli(), until.Add(-left / 10).UnixMilli()})
	})
}

func apply(ctx context.Context, o Options, t Target, merge edit.Merge) (edit.Change, error) {
	if err := t.valid(); err != nil {
		return edit.Change{}, err
	}
	switch {
	case o.Format != Exclude && o.Format != JSON:
		return edit.Change{}, mesh.Errorf(mesh.Invalid, "edit %s: there is no kind of host file %q", o.Path, o.Format)
	case o.Format == Exclude && strings.HasSuffix(strings.ToLower(o.Path), ".xml"):
		return edit.Change{}, mesh.Errorf(mesh.Invalid, "edit %s: Hadoop reads a host file of this name as XML, which is not edited here", o.Path)
	}
	return edit.Apply(ctx, edit.Options{Path: o.Path, Create: o.Create && o.Format == Exclude, DryRun: o.DryRun}, merge)
}

// lineSpace is what stands between the words of an exclude file.
const lineSpace = " \t\f\r"

// checkLines refuses what is no exclude file: it may be a damaged one, or one
// of another kind, and then a line more would be lost in it.
func checkLines(b []byte) error {
	text := string(b)
	if !utf8.ValidString(text) {
		return mesh.Errorf(mesh.Invalid, "it is not text")
	}
	for i, line := range strings.Split(text, "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && !strings.ContainsRune(lineSpace, r) || r == 0x7f }) {
			return mesh.Errorf(mesh.Invalid, "line %d has characters that no host has", i+1)
		}
	}
	if begin := strings.TrimSpace(text); begin != "" && strings.ContainsRune("[{<", rune(begin[0])) {
		return mesh.Errorf(mesh.Invalid, "it begins with %q and is not a list of hosts", begin[:1])
	}
	return nil
}

// words are the hosts of a line: what stands before a word that begins with #.
func words(line string) []string {
	all := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(lineSpace, r) })
	for i, w := range all {
		if w[0] == '#' {
			return all[:i]
		}
	}
	return all
}

func (t Target) isWord(w string) bool {
	e, err := ParseEntry(w)
	return err == nil && t.has(e)
}

// addLine puts the target behind what is there. A last line without an end
// stays without one.
func addLine(old []byte, t Target) ([]byte, error) {
	if err := checkLines(old); err != nil {
		return nil, err
	}
	lines := strings.Split(string(old), "\n")
	for _, l := range lines {
		if slices.ContainsFunc(words(l), t.isWord) {
			return old, nil
		}
	}
	if last := len(lines) - 1; lines[last] == "" {
		lines = append(lines[:last], t.Entry.String(), "")
	} else {
		lines = append(lines, t.Entry.String())
	}
	return []byte(strings.Join(lines, "\n")), nil
}

// removeLine takes the lines of the target away, and its word out of a line
// that it shares.
func removeLine(old []byte, t Target) ([]byte, error) {
	if err := checkLines(old); err != nil {
		return nil, err
	}
	var kept []string
	for line := range strings.SplitSeq(string(old), "\n") {
		ours, foreign := 0, 0
		for _, w := range words(line) {
			if t.isWord(w) {
				ours++
			} else {
				foreign++
			}
		}
		switch {
		case ours == 0:
			kept = append(kept, line)
		case foreign > 0:
			kept = append(kept, t.without(line))
		}
	}
	return []byte(strings.Join(kept, "\n")), nil
}

// without is the line without the words that mean the target.
func (t Target) without(line string) string {
	var b strings.Builder
	for rest := line; rest != ""; {
		start := strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune(lineSpace, r) })
		if start < 0 || rest[start] == '#' {
			b.WriteString(rest)
			break
		}
		end := start + strings.IndexAny(rest[start:]+" ", lineSpace)
		if word := rest[start:end]; !t.isWord(word) {
			b.WriteString(rest[:end])
		}
		rest = rest[end:]
	}
	return b.String()
}

// Lists reports whether the file has the target leave, whatever the NameNode
// has read of it.
func Lists(b []byte, f Format, t Target) (bool, error) {
	if f == JSON {
		list, err := parse(b)
		if err != nil {
			return false, err
		}
		for _, o := range list.objects {
			if t.has(o.entry) && o.state != stateNormal {
				return true, nil
			}
		}
		return false, nil
	}
	if err := checkLines(b); err != nil {
		return false, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if slices.ContainsFunc(words(line), t.isWord) {
			return true, nil
		}
	}
	return false, nil
}
