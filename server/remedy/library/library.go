package library

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"alps/mesh"
	"alps/mesh/config"
)

// The files of a script.
const (
	runFile      = "run"
	manifestFile = "manifest.hcl"
	manifestJSON = "manifest.json" // a program may rather write this one.
	// maxManifest is far above any real one.
	maxManifest = 64 << 10
)

// Script is one script of the library. It is shared: do not change Body.
type Script struct {
	Name     string
	Body     []byte
	Digest   string // mesh.Digest of Body.
	Manifest Manifest
}

// Manifest is what a script says of itself.
type Manifest config.Manifest

// Parameter is one argument of a script.
type Parameter = config.Parameter

// CheckArgs says whether the script takes these arguments.
func (m *Manifest) CheckArgs(args []string) error {
	if len(args) > len(m.Parameters) {
		return fmt.Errorf("%d arguments are given, it takes %d", len(args), len(m.Parameters))
	}
	for i, p := range m.Parameters {
		if p.Required && (i >= len(args) || args[i] == "") {
			return fmt.Errorf("argument %d, %s, is missing: %s", i+1, p.Name, p.Description)
		}
	}
	return nil
}

// Library is the scripts of a directory. It does not change; its methods may be
// called from any goroutine. The zero Library has no scripts.
type Library struct {
	dir     string
	scripts []Script // by name.
}

// scriptName keeps a name a plain word in paths, logs and tables.
var scriptName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// Load reads the library in dir. Files beside the scripts' directories, and
// what begins with a dot, are not looked at. A directory that does not exist is
// a library without scripts, which is no error. Otherwise everything that is
// wrong is told at once, as mesh.Invalid, and there is no half of a library.
func Load(dir string) (*Library, error) {
	l := &Library{dir: dir}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the script library: %w", err).
			WithHint("the key remedy.scripts names its directory")
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		at := filepath.Join(dir, e.Name())
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			continue
		}
		var s Script
		if err == nil {
			s, err = load(at)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("script %q: %w", e.Name(), err))
			continue
		}
		l.scripts = append(l.scripts, s)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the script library %s: %w", dir, err).
			WithHint("a script is a directory with an executable file %s and a %s; docs/remediation.md has an example", runFile, manifestFile)
	}
	return l, nil
}

// load reads the script in the directory at.
func load(at string) (Script, error) {
	s := Script{Name: filepath.Base(at)}
	if !scriptName.MatchString(s.Name) {
		return s, errors.New("a name is lower-case letters, digits, _ and -, at most 64 of them")
	}
	body, err := program(filepath.Join(at, runFile))
	if err != nil {
		return s, err
	}
	path, err := manifestOf(at)
	if err != nil {
		return s, err
	}
	src, _, err := read(path, maxManifest)
	if err != nil {
		return s, err
	}
	m, err := config.ParseManifest(path, src)
	if err != nil {
		return s, err
	}
	s.Body, s.Digest, s.Manifest = body, mesh.Digest(body), Manifest(*m)
	return s, nil
}

// manifestOf is the path of the manifest in the directory at. Two of them could
// say different things.
func manifestOf(at string) (string, error) {
	native, twin := filepath.Join(at, manifestFile), filepath.Join(at, manifestJSON)
	if _, err := os.Lstat(twin); err != nil {
		return native, nil //nolint:nilerr // reading the other says what is wrong.
	}
	if _, err := os.Lstat(native); err == nil {
		return "", fmt.Errorf("there are both %s and %s: keep one of them", native, manifestJSON)
	}
	return twin, nil
}

// program reads what will be run on nodes.
func program(path string) ([]byte, error) {
	body, mode, err := read(path, mesh.MaxScript)
	switch {
	case err != nil:
		return nil, err
	case len(body) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	case mode&0o111 == 0:
		return nil, fmt.Errorf("%s is not executable: chmod +x %s", path, path)
	case mode&0o002 != 0:
		return nil, fmt.Errorf("%s can be written by everybody, and it runs on every node: chmod o-w %s", path, path)
	}
	return body, nil
}

// read reads a regular file of at most limit bytes.
func read(path string, limit int64) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("there is no file %s", path)
	case err != nil:
		return nil, 0, err
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > limit:
		return nil, 0, fmt.Errorf("%s has %d bytes, at most %d are taken", path, info.Size(), limit)
	}
	b, err := os.ReadFile(path)
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s grows while it is read", path)
	}
	return b, info.Mode(), err
}

// Script returns the script of that name; mesh.NotFound names the file that
// was looked for.
func (l *Library) Script(name string) (Script, error) {
	at, ok := slices.BinarySearchFunc(l.scripts, name, func(s Script, name string) int { return strings.Compare(s.Name, name) })
	if ok {
		return l.scripts[at], nil
	}
	err := mesh.Errorf(mesh.NotFound, "there is no script %q: no file %s", name, filepath.Join(l.dir, name, runFile))
	if names := l.names(); len(names) > 0 {
		return Script{}, err.WithHint("the library has %s", strings.Join(names, ", "))
	}
	return Script{}, err.WithHint("the library is empty; the key remedy.scripts names its directory")
}

// Scripts lists the scripts by name.
func (l *Library) Scripts() []Script { return slices.Clone(l.scripts) }

func (l *Library) names() []string {
	names := make([]string, len(l.scripts))
	for i := range l.scripts {
		names[i] = l.scripts[i].Name
	}
	return names
}
