package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"alps/mesh"
)

// maxFile bounds a file: a configuration of this size is another file by
// mistake.
const maxFile = 1 << 20

// load reads the configuration at path into root, which holds the defaults.
func load(path string, root any) error {
	names, err := filesAt(path)
	if err != nil {
		return err
	}
	var sources []*source
	for _, name := range names {
		src, err := readFile(name)
		if err != nil {
			return err
		}
		sources = append(sources, parse(name, src))
	}
	if errs := merge(path, sources, root); len(errs) > 0 {
		return invalid(errs)
	}
	return nil
}

// invalid makes the error that a user sees.
func invalid(errs Errors) error {
	return mesh.Errorf(mesh.Invalid, "read configuration:\n%w", errs).
		WithHint("every key is explained in docs/config.md")
}

// filesAt lists the files of a configuration: path itself, or the files in it.
func filesAt(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.IsDir() {
		if !isConfig(path) {
			return nil, mesh.Errorf(mesh.Invalid, "read configuration: %s ends neither in .hcl nor in .json", path)
		}
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && isConfig(e.Name()) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if len(names) == 0 {
		return nil, mesh.Errorf(mesh.NotFound, "read configuration: no .hcl or .json file in %s", path)
	}
	return names, nil
}

func isConfig(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".hcl" || ext == ".json"
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, unreadable(err)
	}
	if info.Size() > maxFile {
		return nil, mesh.Errorf(mesh.TooLarge, "read configuration: %s has %d bytes, at most %d are read", name, info.Size(), maxFile)
	}
	src, err := os.ReadFile(name)
	if err != nil {
		return nil, unreadable(err)
	}
	return src, nil
}

func unreadable(err error) error {
	code := mesh.Internal
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = mesh.NotFound
	case errors.Is(err, fs.ErrPermission):
		code = mesh.Denied
	}
	return mesh.Errorf(code, "read configuration: %w", err).
		WithHint("--config names a file that ends in .hcl or .json, or a directory of them")
}
