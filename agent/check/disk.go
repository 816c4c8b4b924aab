package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
)

// The files in Options.Dir.
const (
	registeredFile = "registered.json" // keys of units, sorted.
	resultsFile    = "results.json"    // the newest result of each check.
)

// claims are the registrations in Consul that this agent has made. A list that
// is lost means that what was registered stays there; nothing of others is
// ever in it. It belongs to the mirror's goroutine.
type claims struct {
	path string
	keys map[string]bool
}

// loadClaims reads the list. One that cannot be read is an error: to go on
// would be to forget it.
func loadClaims(dir string) (*claims, error) {
	c := &claims{path: filepath.Join(dir, registeredFile), keys: map[string]bool{}}
	b, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	var keys []string
	if err == nil {
		err = json.Unmarshal(b, &keys)
	}
	if err != nil {
		return nil, mesh.Errorf(mesh.Internal, "read the list of registrations %s: %w", c.path, err).
			WithHint("remove the file: what it lists then stays registered in Consul until you deregister it")
	}
	for _, k := range keys {
		c.keys[k] = true
	}
	return c, nil
}

// add puts a key into the list; fresh is true when it was not in it. The list
// is on the disk then.
func (c *claims) add(key string) (fresh bool, err error) {
	if c.keys[key] {
		return false, nil
	}
	c.keys[key] = true
	if err := c.write(); err != nil {
		delete(c.keys, key)
		return false, err
	}
	return true, nil
}

func (c *claims) drop(key string) error {
	if !c.keys[key] {
		return nil
	}
	delete(c.keys, key)
	return c.write()
}

func (c *claims) write() error {
	keys := make([]string, 0, len(c.keys))
	for k := range c.keys {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return writeJSON(c.path, keys, true)
}

// units returns what is needed of the registrations to end them, by key.
func (c *claims) units() map[string]*unit {
	units := make(map[string]*unit, len(c.keys))
	for key := range c.keys {
		if id, ok := strings.CutPrefix(key, "service "); ok {
			units[key] = &unit{service: &mesh.ServiceDef{ID: id}}
		} else if id, ok := strings.CutPrefix(key, "check "); ok {
			units[key] = &unit{checks: []CatalogCheck{{Def: mesh.CheckDef{ID: id}}}}
		}
	}
	return units
}

// savedFor is how long the result of a check is kept that is not defined.
const savedFor = 24 * time.Hour

// savedCheck is what is kept of a check over a restart of the agent.
type savedCheck struct {
	Result  mesh.CheckResult `json:"result"`
	Changes uint32           `json:"changes,omitempty"`
}

// loadResults reads the results of an earlier run. Without them checks begin
// anew.
func loadResults(dir string, log hclog.Logger) map[string]savedCheck {
	path := filepath.Join(dir, resultsFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var list []savedCheck
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		log.Warn("the results of the run before cannot be read; checks begin anew", "file", path, "error", err)
		return nil
	}
	saved := make(map[string]savedCheck, len(list))
	for i := range list {
		saved[list[i].Result.Check] = list[i]
	}
	return saved
}

// restore takes over what an earlier run of the agent knew.
func (c *entry) restore(s *savedCheck) {
	r := s.Result
	r.Seq = c.seq
	c.last, c.restored = &r, true
	c.standing = standing{
		raw: r.Status, hardSince: r.HardSince, attempt: r.Attempt, flapping: r.Flapping,
		changes: s.Changes & (1<<flapWindow - 1),
	}
	if !r.HardSince.IsZero() {
		c.standing.hard = r.Hard
	}
}

// save writes the newest results to the disk. What cannot be written is known
// again after the first runs.
func (e *Engine) save() {
	e.mu.Lock()
	list := make([]savedCheck, 0, len(e.checks))
	for _, c := range e.checks {
		if c.last != nil {
			s := savedCheck{Result: *c.last, Changes: c.standing.changes}
			s.Result.Samples = nil
			list = append(list, s)
		}
	}
	for _, s := range e.saved { // not defined again yet: a pack may still come.
		if time.Since(s.Result.At) < savedFor {
			list = append(list, s)
		}
	}
	e.mu.Unlock()
	slices.SortFunc(list, func(a, b savedCheck) int { return strings.Compare(a.Result.Check, b.Result.Check) })
	if err := writeJSON(filepath.Join(e.o.Dir, resultsFile), list, false); err != nil {
		e.log.Warn("the newest results cannot be kept for the next start", "error", err)
	}
}

// writeJSON replaces a file as a whole: after a crash of this process there is
// the old one or the new one; after one of the machine only if it is durable.
func writeJSON(path string, v any, durable bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // of no use to anybody.
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
