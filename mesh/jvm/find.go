package jvm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"

	"alps/mesh"
)

// FindJava returns the path of java: that of $JAVA_HOME, else the first on
// PATH. None is a mesh.NotFound.
func FindJava() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		path := filepath.Join(home, "bin", "java")
		if st, err := os.Stat(path); err != nil || st.IsDir() {
			return "", mesh.Errorf(mesh.NotFound, "find java: JAVA_HOME is %s, and there is no bin/java in it", home).
				WithHint("unset JAVA_HOME, or set it to a Java 17 or later")
		}
		return path, nil
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return "", mesh.Errorf(mesh.NotFound, "find java: none on PATH").
			WithHint("apt-get install default-jre-headless, or set JAVA_HOME")
	}
	return path, nil
}

// Jars says which jars are wanted, and where to look for them.
type Jars struct {
	// Name is that of the service: `make NAME` fetches its jars to bin/NAME/lib.
	Name string
	// Env is the variable that may name their directory.
	Env string
	// Dir names it outright; empty means that it is looked for.
	Dir string
}

// Find returns the directory of the jars. It looks at Dir, then at Env; one
// that was named so must do, or Find fails. After those it takes the first that
// holds a jar of: bin/NAME/lib beside our own executable, and in the module
// that the working directory lies in. None is a mesh.NotFound.
func (j Jars) Find() (string, error) {
	for _, dir := range []string{j.Dir, os.Getenv(j.Env)} {
		switch {
		case dir == "":
			continue
		case !holdsJars(dir):
			return "", j.hint(mesh.Errorf(mesh.NotFound, "find the jars of %s: %s holds none", j.Name, dir))
		}
		return filepath.Abs(dir)
	}
	for _, dir := range j.candidates() {
		if holdsJars(dir) {
			return filepath.EvalSymlinks(dir)
		}
	}
	return "", j.hint(mesh.Errorf(mesh.NotFound, "find the jars of %s: there is no bin/%s/lib", j.Name, j.Name))
}

func (j Jars) hint(e *mesh.Error) error {
	return e.WithHint("run `make %s` to fetch them into bin/, or set %s to their directory", j.Name, j.Env)
}

// candidates lists the places where nobody told us to look.
func (j Jars) candidates() []string {
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		dirs = append(dirs, filepath.Join(dir, j.Name, "lib"), filepath.Join(dir, "bin", j.Name, "lib"))
	}
	if root, ok := moduleRoot(); ok {
		dirs = append(dirs, filepath.Join(root, "bin", j.Name, "lib"))
	}
	return dirs
}

func holdsJars(dir string) bool {
	jars, err := filepath.Glob(filepath.Join(dir, "*.jar"))
	return err == nil && len(jars) > 0
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
