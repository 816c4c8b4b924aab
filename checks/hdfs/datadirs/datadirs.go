package datadirs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"alps/checks/hdfs/edit"
	"alps/mesh"
)

// Options say which hdfs-site.xml.
type Options struct {
	Path   string
	DryRun bool // change nothing.
}

// kept is the file that has the value from before the first Drop.
func (o Options) kept() string { return o.Path + ".alps-volumes" }

// Drop takes directories out of the value. One that is not in it is no error.
// The last directory is never taken out: that is mesh.Conflict.
func Drop(ctx context.Context, o Options, dirs ...string) (edit.Change, error) {
	if err := o.keep(ctx); err != nil {
		return edit.Change{}, err
	}
	return o.apply(ctx, func(now string) (string, error) {
		left := slices.DeleteFunc(items(now), func(it item) bool { return slices.Contains(dirs, it.path) })
		switch {
		case len(left) == len(items(now)):
			return now, nil
		case len(left) == 0:
			return "", mesh.Errorf(mesh.Conflict, "no directory would be left in %s", property)
		}
		return join(left), nil
	})
}

// Add puts directories back that were dropped, each where it stood. One that is
// there is no error; one that nobody has dropped is mesh.NotFound.
func Add(ctx context.Context, o Options, dirs ...string) (edit.Change, error) {
	before, err := os.ReadFile(o.kept())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return edit.Change{}, err
	}
	return o.apply(ctx, func(now string) (string, error) { return restored(now, string(before), dirs) })
}

// Dropped lists the directories that were dropped and have not come back.
func Dropped(o Options) ([]string, error) {
	before, err := os.ReadFile(o.kept())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(o.Path)
	if err != nil {
		return nil, err
	}
	at, err := find(text)
	if err != nil {
		return nil, mesh.Errorf(mesh.CodeOf(err), "read %s: %w", o.Path, err)
	}
	var out []string
	now := items(string(text[at.start:at.end]))
	for _, it := range items(string(before)) {
		if !has(now, it.path) {
			out = append(out, it.path)
		}
	}
	return out, nil
}

// restored is the value with dirs in it, in the order that they had before.
func restored(now, before string, dirs []string) (string, error) {
	present := items(now)
	wanted := make(map[string]bool)
	for _, it := range present {
		wanted[it.path] = true
	}
	known, missing := items(before), 0
	for _, d := range dirs {
		switch {
		case wanted[d]:
		case !has(known, d):
			return "", mesh.Errorf(mesh.NotFound, "%s was not dropped here, so nobody knows its storage type", d).
				WithHint("write it into %s by hand", property)
		default:
			wanted[d] = true
			missing++
		}
	}
	if missing == 0 {
		return now, nil
	}
	var out []item
	for _, it := range known {
		if wanted[it.path] {
			out = append(out, it)
		}
	}
	whole := len(out) == len(known)
	// What somebody has added since.
	for _, it := range present {
		if !has(known, it.path) {
			out = append(out, it)
			whole = false
		}
	}
	if whole {
		return before, nil // with its spaces.
	}
	return join(out), nil
}

func has(all []item, path string) bool {
	return slices.ContainsFunc(all, func(it item) bool { return it.path == path })
}

// keep writes the value down as it is, unless what was kept has more than it:
// then something is dropped already.
func (o Options) keep(ctx context.Context) error {
	text, err := os.ReadFile(o.Path)
	if err != nil {
		return err
	}
	at, err := find(text)
	if err != nil {
		return mesh.Errorf(mesh.CodeOf(err), "read %s: %w", o.Path, err)
	}
	now := string(text[at.start:at.end])
	_, err = edit.Apply(ctx, edit.Options{Path: o.kept(), Create: true, DryRun: o.DryRun}, func(old []byte) ([]byte, error) {
		known := items(string(old))
		for _, it := range items(now) {
			if !slices.Contains(known, it) {
				return []byte(now), nil
			}
		}
		return old, nil
	})
	return err
}

// apply changes the value.
func (o Options) apply(ctx context.Context, change func(now string) (string, error)) (edit.Change, error) {
	return edit.Apply(ctx, edit.Options{Path: o.Path, DryRun: o.DryRun}, func(old []byte) ([]byte, error) {
		at, err := find(old)
		if err != nil {
			return nil, err
		}
		next, err := change(string(old[at.start:at.end]))
		if err != nil {
			return nil, err
		}
		return slices.Concat(old[:at.start], []byte(next), old[at.end:]), nil
	})
}
