package judge

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// memory remembers what was seen last, and since when it is so. A judge is a
// process of its own each time it is asked. Without it nothing is ever stuck,
// and the deadline of the plan's step is what ends it.
type memory struct {
	dir, file string
}

// remembered is what a file of the memory holds.
type remembered struct {
	Seen  string    `json:"seen"`
	Since time.Time `json:"since"`
}

// memoryDir is where a user's judges remember: away with the next boot.
func memoryDir(uid int) string {
	if uid == 0 {
		return "/run/alps-hdfs"
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("alps-hdfs-%d", uid))
}

// newMemory is the memory of the question that the words make.
func newMemory(dir string, words ...string) *memory {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return &memory{dir, filepath.Join(dir, hex.EncodeToString(sum[:16])+".json")}
}

// still is for how long the same has been seen, of what is seen now.
func (m *memory) still(seen string, now time.Time) time.Duration {
	if !m.mine() {
		return 0
	}
	var last remembered
	b, err := os.ReadFile(m.file)
	if err == nil && json.Unmarshal(b, &last) == nil && last.Seen == seen && !last.Since.After(now) {
		return now.Sub(last.Since)
	}
	if b, err = json.Marshal(remembered{seen, now}); err == nil {
		part := m.file + ".part"
		if os.WriteFile(part, b, 0o600) == nil {
			_ = os.Rename(part, m.file) // unremembered, it begins again.
		}
	}
	return 0
}

// forget ends the memory of a question that is answered.
func (m *memory) forget() { _ = os.Remove(m.file) }

// mine makes the directory, and reports whether it is this user's and nobody
// else may write there: others share the directory above.
func (m *memory) mine() bool {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return false
	}
	info, err := os.Lstat(m.dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
