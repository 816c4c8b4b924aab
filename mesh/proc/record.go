package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"alps/mesh"
)

// record is the file that outlives a killed owner.
type record struct {
	Boot  string  `json:"boot"`  // boot id of the kernel: start times count from it.
	Space string  `json:"space"` // pid namespace: pids mean nothing in another.
	Owner ident   `json:"owner"`
	Procs []entry `json:"procs"`
}

type entry struct {
	Name string `json:"name"`
	ident
}

// newRecord returns an empty record that we own.
func newRecord() (record, error) {
	owner, err := identify(os.Getpid())
	if err != nil {
		return record{}, err
	}
	boot, space, err := where()
	if err != nil {
		return record{}, err
	}
	return record{Boot: boot, Space: space, Owner: owner}, nil
}

// where names the kernel's run and the pid namespace that we live in.
func where() (boot, space string, err error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", "", fmt.Errorf("read the boot id: %w", err)
	}
	space, err = os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", "", fmt.Errorf("read the pid namespace: %w", err)
	}
	return strings.TrimSpace(string(b)), space, nil
}

// write replaces the file at path as a whole. It does not sync: a record is
// only of use until the machine goes down.
func (r record) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the process record: %w", err)
	}
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the process record: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the process record: %w", err)
	}
	return nil
}

// readRecord returns the record at path; found is false if there is none.
func readRecord(path string) (r record, found bool, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, fmt.Errorf("read the process record: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, false, fmt.Errorf("read the process record %s: %w", path, err)
	}
	return r, true, nil
}

// free says whether the processes of r are nobody's any more. gone is true
// when none of them can be left, because the machine was started anew.
func (r record) free(path string) (gone bool, err error) {
	boot, space, err := where()
	if err != nil {
		return false, err
	}
	switch {
	case r.Boot != boot:
		return true, nil
	case r.Space != space:
		return false, mesh.Errorf(mesh.Conflict, "the processes in %s run in another pid namespace (a container?)", path).
			WithHint("stop them there, or use another directory")
	case r.Owner.matches():
		return false, mesh.Errorf(mesh.Conflict, "the processes in %s belong to pid %d, which still runs", path, r.Owner.PID).
			WithHint("stop it first (kill %d), or use another directory", r.Owner.PID)
	}
	return false, nil
}

// Sweep ends the processes of a record whose owner was killed, and removes
// the record. It returns the names of those that it ended. A process is
// touched only if pid, start time and executable are those of the record.
// Each gets TERM, and KILL when grace has passed.
//
// A missing record is no error. A record whose owner still runs is left
// alone: a mesh.Conflict.
func Sweep(path string, grace time.Duration) (ended []string, err error) {
	r, found, err := readRecord(path)
	if err != nil || !found {
		return nil, err
	}
	gone, err := r.free(path)
	if err != nil {
		return nil, err
	}
	if !gone {
		ended, err = r.end(grace)
	}
	if err != nil {
		return ended, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ended, fmt.Errorf("remove the process record: %w", err)
	}
	return ended, nil
}

// end stops every process of r that is still the one it was.
func (r record) end(grace time.Duration) (ended []string, err error) {
	var left []entry
	for _, e := range r.Procs {
		if e.matches() {
			left = append(left, e)
			_ = syscall.Kill(-e.PID, syscall.SIGTERM) // fails only if it has just ended.
			_ = syscall.Kill(-e.PID, syscall.SIGCONT)
		}
	}
	for deadline := time.Now().Add(grace); anyRuns(left) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	for _, e := range left {
		if e.runs() {
			_ = syscall.Kill(-e.PID, syscall.SIGKILL)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); anyRuns(left) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	var errs []error
	for _, e := range left {
		if e.runs() {
			errs = append(errs, fmt.Errorf("%s (pid %d) did not end after SIGKILL", e.Name, e.PID))
			continue
		}
		ended = append(ended, e.Name)
	}
	return ended, errors.Join(errs...)
}

func anyRuns(es []entry) bool {
	for _, e := range es {
		if e.runs() {
			return true
		}
	}
	return false
}
