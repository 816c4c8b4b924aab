package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"alps/mesh"
)

// binaryEnv names a Consul to use instead of whatever is on PATH.
const binaryEnv = "ALPS_CONSUL"

// wanted is the oldest Consul that ALPS is tested with.
var wanted = version{1, 15, 0}

// Find returns the path of a Consul that is new enough. It looks at explicit,
// then at $ALPS_CONSUL; one that was named so must do, or Find fails. After
// those it takes the first that does of: consul on PATH, bin/consul beside
// our own executable, bin/consul in the module that the working directory
// lies in. None is a mesh.NotFound.
func Find(ctx context.Context, explicit string) (string, error) {
	for _, path := range []string{explicit, os.Getenv(binaryEnv)} {
		if path == "" {
			continue
		}
		if err := checkBinary(ctx, path); err != nil {
			return "", hintMake(mesh.Errorf(mesh.NotFound, "use %s: %w", path, err))
		}
		return filepath.Abs(path)
	}
	var found []error // why each one that is there will not do.
	for _, path := range candidates() {
		if st, err := os.Stat(path); err != nil || st.IsDir() {
			continue
		}
		if err := checkBinary(ctx, path); err != nil {
			found = append(found, fmt.Errorf("%s: %w", path, err))
			continue
		}
		return filepath.Abs(path)
	}
	if len(found) > 0 {
		return "", hintMake(mesh.Errorf(mesh.NotFound, "find a Consul of version %s or later: %w", wanted, errors.Join(found...)))
	}
	return "", hintMake(mesh.Errorf(mesh.NotFound, "find a Consul: none on PATH and no bin/consul"))
}

func hintMake(e *mesh.Error) error {
	return e.WithHint("run `make consul` to build one into bin/, or set %s", binaryEnv)
}

// candidates lists the places where nobody told us to look.
func candidates() []string {
	var paths []string
	if p, err := exec.LookPath("consul"); err == nil {
		paths = append(paths, p)
	}
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		paths = append(paths, filepath.Join(dir, "bin", "consul"), filepath.Join(dir, "consul"))
	}
	if root, ok := moduleRoot(); ok {
		paths = append(paths, filepath.Join(root, "bin", "consul"))
	}
	return paths
}

// moduleRoot finds the source tree that we work in, as tests do.
func moduleRoot() (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(b, []byte("module alps\n")) {
			return dir, true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

// checkBinary runs path and fails if it is not a Consul, or one too old.
func checkBinary(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "version").Output() //nolint:gosec // running the Consul that the operator names is the point.
	if err != nil {
		return fmt.Errorf("ask for its version: %w", err)
	}
	v, err := parseVersion(string(out))
	if err != nil {
		return err
	}
	if v.before(wanted) {
		return fmt.Errorf("it is Consul %s, wanted is %s or later", v, wanted)
	}
	return nil
}

type version struct{ major, minor, patch int }

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch) }

func (v version) before(w version) bool {
	if v.major != w.major {
		return v.major < w.major
	}
	if v.minor != w.minor {
		return v.minor < w.minor
	}
	return v.patch < w.patch
}

// parseVersion reads what "consul version" prints. What follows the three
// numbers ("-dev", "+ent", "-rc1") does not matter to us.
func parseVersion(out string) (version, error) {
	for line := range strings.Lines(out) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "Consul v")
		if !ok {
			continue
		}
		if end := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); end >= 0 {
			rest = rest[:end]
		}
		words := strings.Split(rest, ".")
		if len(words) != 3 {
			break
		}
		var n [3]int
		for i, w := range words {
			d, err := strconv.Atoi(w)
			if err != nil {
				return version{}, fmt.Errorf("read the version of Consul in %q: %w", line, err)
			}
			n[i] = d
		}
		return version{n[0], n[1], n[2]}, nil
	}
	first, _, _ := strings.Cut(out, "\n")
	return version{}, fmt.Errorf("it does not answer as Consul does, but %.80q", first)
}
