package volume

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// device is what a directory lies on.
type device struct {
	Name string // of the kernel: "sdb1", "dm-0"; "" when it is no block device.
	Disk string // the whole of which it is a part: "sdb".
	ID   string // major:minor.
}

// deviceOf looks into sysfs for a major:minor. What it lies on decides the name
// in the kernel's log.
func (v *Prober) deviceOf(id string) device {
	d := device{ID: id}
	link, err := os.Readlink(v.path("sys/dev/block", id))
	if err != nil {
		return d // a file system of memory, or of the network.
	}
	d.Name = filepath.Base(link)
	d.Disk = d.Name
	if _, err := os.Stat(v.path("sys/dev/block", id, "partition")); err == nil {
		d.Disk = filepath.Base(filepath.Dir(link))
	}
	return d
}

// ext4Errors returns how many errors ext4 has counted on a device, and when the
// first was; zero when the file system is another.
func (v *Prober) ext4Errors(d device) (count int64, first time.Time) {
	read := func(name string) int64 {
		b, err := os.ReadFile(v.path("sys/fs/ext4", d.Name, name))
		if err != nil {
			return 0
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	if d.Name == "" {
		return 0, time.Time{}
	}
	if at := read("first_error_time"); at > 0 {
		first = time.Unix(at, 0).UTC()
	}
	return read("errors_count"), first
}

// trouble is what the kernel says of disks and file systems that fail.
var trouble = []struct {
	pattern *regexp.Regexp
	meaning string
}{
	{regexp.MustCompile(`EXT4-fs error|EXT4-fs \(\S+\): (?:Remounting filesystem read-only|shut down)`), "ext4 errors"},
	{regexp.MustCompile(`XFS \(\S+\): .*(?:[Ss]hut(?:ting)? ?down|I/O error|[Cc]orruption)`), "XFS errors"},
	{regexp.MustCompile(`I/O error(?: on dev|, dev)|critical (?:medium|target|space allocation) error`), "I/O errors"},
	{regexp.MustCompile(`Medium Error|Unrecovered read error|rejecting I/O to (?:offline|dead) device|Device offlined`), "a failing disk"},
}

// Limits of the kernel's log.
const (
	maxRecords = 20_000
	recordSize = 8192
)

// record is one message of the kernel.
type record struct {
	since time.Duration // since boot.
	text  string
}

// kernelLog returns the messages of the last hour; nothing when they may not be
// read, which is no fault of the disk.
func (v *Prober) kernelLog() []record {
	fd, err := syscall.Open(v.path("dev/kmsg"), syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd) //nolint:errcheck // it was only read.
	up := v.uptime()
	buf := make([]byte, recordSize)
	var out []record
	for range maxRecords {
		n, err := syscall.Read(fd, buf)
		switch {
		case errors.Is(err, syscall.EPIPE): // overwritten while we read: the next one.
			continue
		case err != nil || n == 0:
			return out
		}
		for line := range strings.Lines(string(buf[:n])) { // a record is one; a file of a test is many.
			if r, ok := parseRecord(line); ok && (up == 0 || r.since >= up-time.Hour) {
				out = append(out, r)
			}
		}
	}
	return out
}

// uptime is how long the machine runs, zero when nobody knows.
func (v *Prober) uptime() time.Duration {
	b, err := os.ReadFile(v.path("proc/uptime"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	s, err := strconv.ParseFloat(first, 64)
	if err != nil || s < 0 || s > 1e10 {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// parseRecord reads "priority,sequence,microseconds,flags;message".
func parseRecord(line string) (record, bool) {
	head, text, ok := strings.Cut(line, ";")
	fields := strings.Split(head, ",")
	if !ok || len(fields) < 3 || strings.HasPrefix(line, " ") {
		return record{}, false
	}
	us, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || us < 0 || us > 1e16 {
		return record{}, false
	}
	return record{time.Duration(us) * time.Microsecond, strings.TrimSpace(text)}, true
}

// complaints returns what the kernel has said of a device, without repeating
// itself.
func complaints(log []record, d device) []string {
	var out []string
	for _, r := range log {
		if !mentions(r.text, d.Name) && !mentions(r.text, d.Disk) {
			continue
		}
		for _, t := range trouble {
			if t.pattern.MatchString(r.text) && !slices.Contains(out, t.meaning) {
				out = append(out, t.meaning)
			}
		}
	}
	slices.Sort(out)
	return out
}

// mentions reports whether a text has a word; sdb is not in sdb1.
func mentions(text, word string) bool {
	if word == "" {
		return false
	}
	for rest := text; ; {
		at := strings.Index(rest, word)
		if at < 0 {
			return false
		}
		end := at + len(word)
		if (at == 0 || !wordByte(rest[at-1])) && (end == len(rest) || !wordByte(rest[end])) {
			return true
		}
		rest = rest[end:]
	}
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
