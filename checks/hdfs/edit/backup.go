package edit

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Backups is how many copies of what was replaced are kept.
const Backups = 10

// backupName is what stands behind the name of the file: a number that grows,
// and when it was made.
var backupName = regexp.MustCompile(`^\.alps-(\d{6,9})-\d{8}T\d{6}Z$`)

type numbered struct {
	path   string
	number int
}

// backups are the copies of path, the oldest first.
func backups(path string) ([]numbered, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var all []numbered
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filepath.Base(path))
		if m := backupName.FindStringSubmatch(rest); ok && m != nil {
			n, _ := strconv.Atoi(m[1]) // nine digits are a number.
			all = append(all, numbered{filepath.Join(filepath.Dir(path), e.Name()), n})
		}
	}
	slices.SortFunc(all, func(a, b numbered) int { return a.number - b.number })
	return all, nil
}

// backup keeps a copy of what is to be replaced, and drops the oldest ones. A
// file that was not there has none.
func backup(path string, old content, now time.Time) (string, error) {
	if old.info == nil {
		return "", nil
	}
	all, err := backups(path)
	if err != nil {
		return "", err
	}
	next := 1
	if len(all) > 0 {
		next = all[len(all)-1].number + 1
	}
	name := fmt.Sprintf("%s.alps-%06d-%s", path, next, now.UTC().Format("20060102T150405Z"))
	if err := write(name, old.data, *old.info); err != nil {
		return "", err
	}
	for len(all) >= Backups {
		if err := os.Remove(all[0].path); err != nil && !os.IsNotExist(err) {
			return "", err
		}
		all = all[1:]
	}
	return name, nil
}
