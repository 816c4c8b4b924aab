package clean

import (
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"alps/mesh"
)

// Rule says which files may go.
type Rule struct {
	// Dir is where they lie, at any depth.
	Dir string
	// Match is what their names look like, as in path.Match.
	Match []string
	// Days is how old they must be, by when they were last written. What was
	// written today stays, also with zero.
	Days int
	// Keep is how many of each pattern stay, the newest.
	Keep int
	// Free is when it is enough. The zero Free is never.
	Free Free
}

// Free is how much is to be freed: so many bytes, or until so many percent of
// the file system are free. At most one of them is set.
type Free struct {
	Bytes   int64
	Percent float64
}

// Limits of a rule.
const (
	maxPatterns = 32
	maxDays     = 3650
	maxKeep     = 100_000
)

// ParseFree reads "10G", "500MiB", "4096" or "20%". Letters count in powers of
// 1024. Nothing is the zero Free.
func ParseFree(text string) (Free, error) {
	bad := func() (Free, error) {
		return Free{}, mesh.Errorf(mesh.Invalid, "%q is not how much to free", text).
			WithHint("bytes such as 500M or 10G, or a share of the file system that is then free, such as 20%%")
	}
	if text == "" {
		return Free{}, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(number, 64)
		if err != nil || !(p > 0 && p < 100) {
			return bad()
		}
		return Free{Percent: p}, nil
	}
	number := strings.TrimSuffix(strings.TrimSuffix(text, "B"), "i")
	shift := 0
	if number != "" {
		if i := strings.IndexByte("KMGT", number[len(number)-1]); i >= 0 {
			shift, number = 10*(i+1), number[:len(number)-1]
		} else if strings.HasSuffix(text, "iB") {
			return bad()
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)>>shift {
		return bad()
	}
	return Free{Bytes: n << shift}, nil
}

// Where nobody's logs lie, whatever a rule says: below the first ones, and in
// the second ones themselves.
var (
	never = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/lib", "/usr/sbin", "/usr/share"}
	tops  = []string{"/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/usr/local", "/var", "/var/lib"}
)

// checkPlace refuses a directory where a rule can only be a mistake. place is
// its true path.
func checkPlace(place string) error {
	under := func(dir string) bool { return place == dir || strings.HasPrefix(place, dir+"/") }
	if slices.ContainsFunc(never, under) || slices.Contains(tops, place) {
		return mesh.Errorf(mesh.Invalid, "nothing is removed in %s", place).WithHint("name the directory of one program's logs, such as /var/log/hdfs")
	}
	return nil
}

func (r *Rule) validate() error {
	switch {
	case !filepath.IsAbs(r.Dir):
		return mesh.Errorf(mesh.Invalid, "the directory %q is not an absolute path", r.Dir)
	case len(r.Match) == 0 || len(r.Match) > maxPatterns:
		return mesh.Errorf(mesh.Invalid, "%d patterns are given, want 1 to %d", len(r.Match), maxPatterns).WithHint("such as *.log.*")
	case r.Days < 0 || r.Days > maxDays:
		return mesh.Errorf(mesh.Invalid, "%d days: want 0 to %d", r.Days, maxDays)
	case r.Keep < 0 || r.Keep > maxKeep:
		return mesh.Errorf(mesh.Invalid, "keep %d: want 0 to %d", r.Keep, maxKeep)
	}
	for _, p := range r.Match {
		if _, err := path.Match(p, ""); err != nil || strings.ContainsAny(p, "/\x00") {
			return mesh.Errorf(mesh.Invalid, "%q is not a pattern of file names", p).WithHint("such as *.log.* or gc-[0-9]*.log")
		}
		if !strings.ContainsFunc(outsideBrackets(p), func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }) {
			return mesh.Errorf(mesh.Invalid, "the pattern %q is any file's", p).WithHint("say what the name holds, such as *.log.*")
		}
	}
	return nil
}

// outsideBrackets is a pattern without its [classes].
func outsideBrackets(p string) string {
	for {
		before, rest, ok := strings.Cut(p, "[")
		if !ok {
			return p
		}
		_, after, _ := strings.Cut(rest, "]")
		p = before + after
	}
}

// matches returns which patterns fit a name.
func (r *Rule) matches(name string) []int {
	var out []int
	for i, p := range r.Match {
		if ok, err := path.Match(p, name); err == nil && ok {
			out = append(out, i)
		}
	}
	return out
}
