package fact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"alps/mesh"
)

// Collect observes the machine whose file system is mounted at root: "/", or
// where a container finds its host. Interfaces are those of the calling
// process's network namespace, whatever root is. Agent, Name and DC are left
// for the caller to fill in.
//
// What could not be read is empty in the facts and named in the error, so the
// facts are of use even when the error is not nil. Values that only root may
// read (the DMI UUID) are empty without an error for anybody else.
func Collect(ctx context.Context, root string) (mesh.Facts, error) {
	links, err := systemLinks()
	f, errs := collect(ctx, tree(root), links)
	return f, errors.Join(err, errs)
}

func collect(ctx context.Context, t tree, links []link) (mesh.Facts, error) {
	f := mesh.Facts{OS: runtime.GOOS, Arch: runtime.GOARCH}
	parts := []struct {
		what string
		read func(tree, *mesh.Facts) error
	}{
		{"host name and kernel", readKernel},
		{"distribution", readDistro},
		{"processors", readCPUs},
		{"memory", readMemory},
		{"boot time", readBootTime},
		{"disks", readDisks},
		{"interfaces", func(t tree, f *mesh.Facts) error { return readInterfaces(t, links, f) }},
		{"machine id", readIdentity},
		{"virtualisation", readVirtual},
	}
	var errs []error
	for _, p := range parts {
		if err := ctx.Err(); err != nil {
			return f, errors.Join(append(errs, fmt.Errorf("collect %s: %w", p.what, err))...)
		}
		if err := p.read(t, &f); err != nil {
			errs = append(errs, fmt.Errorf("collect %s: %w", p.what, err))
		}
	}
	return f, errors.Join(errs...)
}

// tree is the path under which a machine's file system is found.
type tree string

func (t tree) path(name string) string { return filepath.Join(string(t), name) }

// text returns a file's content without the white space around it.
func (t tree) text(name string) (string, error) {
	b, err := os.ReadFile(t.path(name))
	return strings.TrimSpace(string(b)), err
}

// optional is text for a file that need not be there and may be closed to
// this user: then it is empty.
func (t tree) optional(name string) string {
	s, err := t.text(name)
	if err != nil {
		return ""
	}
	return s
}

func (t tree) exists(name string) bool {
	_, err := os.Lstat(t.path(name))
	return err == nil
}

// first returns the content of the first of names that exists.
func (t tree) first(names ...string) (string, error) {
	var errs []error
	for _, name := range names {
		s, err := t.text(name)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

func readKernel(t tree, f *mesh.Facts) error {
	var errs [2]error
	f.Host, errs[0] = t.text("proc/sys/kernel/hostname")
	f.Kernel, errs[1] = t.text("proc/sys/kernel/osrelease")
	return errors.Join(errs[:]...)
}

func readDistro(t tree, f *mesh.Facts) error {
	text, err := t.first("etc/os-release", "usr/lib/os-release")
	if err != nil {
		return err
	}
	vars := assignments(text)
	f.Distro, f.Version = vars["ID"], vars["VERSION_ID"]
	// Debian names its stable point release only here.
	if f.Distro == "debian" {
		if v := t.optional("etc/debian_version"); strings.HasPrefix(v, f.Version+".") {
			f.Version = v
		}
	}
	return nil
}

// assignments reads the shell-like KEY=value lines of os-release. A value may
// be quoted; the few escapes that its standard allows are undone.
func assignments(text string) map[string]string {
	vars := make(map[string]string)
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		vars[key] = unescape.Replace(value)
	}
	return vars
}

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\$`, `$`, "\\`", "`")

// readCPUs counts the processors that are online. Their model goes by another
// name on every architecture, and some (arm64) name none.
func readCPUs(t tree, f *mesh.Facts) error {
	text, err := t.text("proc/cpuinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.Join(strings.Fields(value), " ")
		switch strings.TrimSpace(key) {
		case "processor":
			f.CPUs++
		case "model name", "cpu model", "cpu":
			if f.CPUModel == "" {
				f.CPUModel = value
			}
		}
	}
	if f.CPUs == 0 {
		return errors.New("/proc/cpuinfo lists none")
	}
	return nil
}

func readMemory(t tree, f *mesh.Facts) error {
	text, err := t.text("proc/meminfo")
	if err != nil {
		return err
	}
	kib, err := field(text, "MemTotal:")
	f.Memory = uint64(max(kib, 0)) << 10
	return err
}

func readBootTime(t tree, f *mesh.Facts) error {
	text, err := t.text("proc/stat")
	if err != nil {
		return err
	}
	f.BootTime, err = field(text, "btime")
	return err
}

// field returns the number behind key at the beginning of a line.
func field(text, key string) (int64, error) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != key {
			continue
		}
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s is not a number: %w", key, err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("no line begins with %s", key)
}

// placeholders are the DMI UUIDs of firmware that nobody filled in.
var placeholders = map[string]bool{
	"00000000-0000-0000-0000-000000000000": true,
	"ffffffff-ffff-ffff-ffff-ffffffffffff": true,
	"03000200-0400-0500-0006-000700080009": true,
	"12345678-1234-5678-90ab-cddeefaabbcc": true,
	"not settable":                         true,
	"not present":                          true,
}

// readIdentity reads what identifies the machine to people. A missing machine
// id is common in containers and no fault; the DMI UUID is closed to all but
// root.
func readIdentity(t tree, f *mesh.Facts) error {
	id, err := t.first("etc/machine-id", "var/lib/dbus/machine-id")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if id != "uninitialized" { // an image that has not booted yet.
		f.MachineID = id
	}
	if uuid := strings.ToLower(t.optional("sys/class/dmi/id/product_uuid")); !placeholders[uuid] {
		f.DMIUUID = uuid
	}
	return nil
}
