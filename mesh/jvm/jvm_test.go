package jvm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func TestCommand(t *testing.T) {
	for name, tc := range map[string]struct {
		p    Program
		want []string
	}{
		"the least": {
			Program{Java: "/j", Jars: "/lib", Main: "M"},
			[]string{"-cp", "/lib/*", "M"},
		},
		"everything, properties in order, arguments last": {
			Program{
				Java: "/j", Jars: "/lib", Main: "M", Args: []string{"-x", "1"}, Heap: 64, Hosts: "/h",
				Classpath: []string{"/a", "/b"}, Properties: map[string]string{"z": "1", "a": "2 3"},
				Opens: []string{"java.base/java.lang"},
			},
			[]string{
				"-Xmx64m", "-Djdk.net.hosts.file=/h", "-Dsun.net.inetaddr.ttl=1", "-Dsun.net.inetaddr.negative.ttl=0",
				"--add-opens=java.base/java.lang=ALL-UNNAMED", "-Da=2 3", "-Dz=1", "-cp", "/a:/b:/lib/*", "M", "-x", "1",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			always := []string{"/j", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxMetaspaceSize=128m", "-Djava.net.preferIPv4Stack=true"}
			if diff := cmp.Diff(append(always, tc.want...), tc.p.Command()); diff != "" {
				t.Errorf("Command (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSpec(t *testing.T) {
	s := Program{Java: "/j", Jars: "/lib", Main: "M", Env: []string{"A=b"}, Netns: "/ns"}.Spec("web", "/d")
	if s.Name != "web" || s.Path != "/j" || s.Dir != "/d" || s.Log != "/d/web.log" || s.Netns != "/ns" {
		t.Errorf("Spec = %+v", s)
	}
	if got := s.Args[len(s.Args)-1]; got != "M" {
		t.Errorf("the last argument is %q, want the class", got)
	}
	if got := s.Env[len(s.Env)-1]; got != "A=b" || len(s.Env) < 2 {
		t.Errorf("the environment is %v, want ours and A=b", s.Env)
	}
}

// withJar makes a directory that holds a jar.
func withJar(t *testing.T, dir string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "a.jar"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFindJars(t *testing.T) {
	top := t.TempDir()
	named, env, inModule := withJar(t, filepath.Join(top, "named")), withJar(t, filepath.Join(top, "env")), withJar(t, filepath.Join(top, "bin", "svc", "lib"))
	if err := os.WriteFile(filepath.Join(top, "go.mod"), []byte("module alps\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	below, elsewhere := filepath.Join(top, "a", "b"), t.TempDir()
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		dir, env, wd string
		want, says   string
	}{
		"named":              {dir: named, env: env, wd: below, want: named},
		"by the environment": {env: env, wd: below, want: env},
		"in the module":      {wd: below, want: inModule},
		"named, and empty":   {dir: elsewhere, env: env, wd: below, says: elsewhere + " holds none"},
		"the environment names what is not there": {env: top + "/no", wd: below, says: top + "/no holds none"},
		"nowhere": {wd: elsewhere, says: "there is no bin/svc/lib"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(tc.wd)
			t.Setenv("ALPS_SVC_TEST", tc.env)
			got, err := Jars{Name: "svc", Env: "ALPS_SVC_TEST", Dir: tc.dir}.Find()
			if tc.says == "" {
				if err != nil || got != tc.want {
					t.Errorf("Find = %q, %v, want %q", got, err, tc.want)
				}
				return
			}
			wantHint(t, err, tc.says, "make svc")
		})
	}
}

func TestFindJava(t *testing.T) {
	home, bin := t.TempDir(), t.TempDir()
	java := filepath.Join(home, "bin", "java")
	if err := errors.Join(os.MkdirAll(filepath.Dir(java), 0o700), os.WriteFile(java, []byte("#!/bin/sh\n"), 0o700), os.Symlink(java, filepath.Join(bin, "java"))); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ home, path, want, says, hint string }{
		"of JAVA_HOME":             {home: home, path: bin, want: java},
		"of PATH":                  {path: bin, want: filepath.Join(bin, "java")},
		"JAVA_HOME without a java": {home: bin, path: bin, says: "JAVA_HOME is " + bin, hint: "unset JAVA_HOME"},
		"none":                     {path: home, says: "none on PATH", hint: "apt-get install"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("JAVA_HOME", tc.home)
			t.Setenv("PATH", tc.path)
			got, err := FindJava()
			if tc.says == "" {
				if err != nil || got != tc.want {
					t.Errorf("FindJava = %q, %v, want %q", got, err, tc.want)
				}
				return
			}
			wantHint(t, err, tc.says, tc.hint)
		})
	}
}

// wantHint checks an error that tells a user what to type.
func wantHint(t *testing.T, err error, says, hint string) {
	t.Helper()
	e, ok := errors.AsType[*mesh.Error](err)
	if !ok || e.Code != mesh.NotFound || !strings.Contains(e.Message, says) || !strings.Contains(e.Hint, hint) {
		t.Errorf("error = %+v, want not_found that says %q and to try %q", err, says, hint)
	}
}
