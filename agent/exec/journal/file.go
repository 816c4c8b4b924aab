package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"alps/mesh"
)

type kind string

const (
	kindBorn   kind = "born"
	kindCursor kind = "cursor"
	kindTake   kind = "take"
	kindStart  kind = "start"
	kindEnd    kind = "end"
	kindSent   kind = "sent"
)

// record is one line of the file.
type record struct {
	Kind kind `json:"k"`
	Key

	Expires    int64        `json:"x,omitempty"`
	Idempotent bool         `json:"i,omitempty"`
	Woke       mesh.Woke    `json:"w,omitempty"`
	Mark       string       `json:"m,omitempty"`
	Report     *mesh.Report `json:"r,omitempty"`
	Forget     int64        `json:"f,omitempty"`
	Epoch      string       `json:"e,omitempty"`
	Seq        uint64       `json:"q,omitempty"`
	At         time.Time    `json:"t,omitzero"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(rs ...record) ([]byte, error) {
	var buf bytes.Buffer
	for _, r := range rs {
		b, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encode a record: %w", err)
		}
		fmt.Fprintf(&buf, "%08x %s\n", crc32.Checksum(b, castagnoli), b)
	}
	return buf.Bytes(), nil
}

// decode reads one line without its line end; ok is false when it is not
// sound.
func decode(line []byte) (r record, ok bool) {
	// The text of the sum is compared, not its number: in any other spelling
	// it is damage too.
	sum, body, found := bytes.Cut(line, []byte(" "))
	if !found || string(sum) != fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)) {
		return record{}, false
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return record{}, false
	}
	return r, true
}

// scan reads a whole file: its sound records, how long it is up to the end of
// the last of them, and how many lines before that are not sound.
func scan(b []byte) (rs []record, sound int64, damaged int) {
	bad, at := 0, 0
	for at < len(b) {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			break
		}
		if r, ok := decode(b[at : at+n]); ok {
			rs = append(rs, r)
			sound, damaged = int64(at+n+1), bad
		} else {
			bad++
		}
		at += n + 1
	}
	return rs, sound, damaged
}

// load reads the file and leaves it sound and open for appending.
func (j *Journal) load(now time.Time) error {
	b, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	rs, sound, damaged := scan(b)
	for _, r := range rs {
		j.apply(r)
	}
	j.damaged = damaged
	if j.born.IsZero() || damaged > 0 {
		j.born = now
		return j.rewrite()
	}
	f, err := os.OpenFile(j.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if int64(len(b)) > sound {
		if err := errors.Join(f.Truncate(sound), f.Sync()); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	j.file, j.size = f, sound
	return nil
}

// append writes records behind the file and applies them. j.mu is held.
func (j *Journal) append(sync bool, rs ...record) error {
	if j.broken != nil {
		return fmt.Errorf("write the journal: %w", j.broken)
	}
	if len(rs) == 0 {
		return nil
	}
	b, err := encode(rs...)
	if err != nil {
		return err
	}
	if _, err := j.file.WriteAt(b, j.size); err != nil {
		// Half a line must not stay in the middle: the next one would make a
		// gap of it.
		if terr := j.file.Truncate(j.size); terr != nil {
			j.broken = terr
		}
		return fmt.Errorf("write the journal: %w", err)
	}
	if sync {
		if err := j.file.Sync(); err != nil {
			j.broken = err // the kernel may have dropped what it could not write.
			return fmt.Errorf("write the journal: %w", err)
		}
	}
	j.size += int64(len(b))
	for _, r := range rs {
		j.apply(r)
	}
	return nil
}

// Compact forgets what may be forgotten and writes the rest anew. It is
// called now and then; after an error the journal is as before.
func (j *Journal) Compact(now time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return fmt.Errorf("compact the journal: %w", j.broken)
	}
	maps.DeleteFunc(j.entries, func(_ Key, e *entry) bool { return e.Stage == Ended && e.forget < now.Unix() })
	if err := j.rewrite(); err != nil {
		return fmt.Errorf("compact the journal: %w", err)
	}
	return nil
}

// rewrite puts a file in place that holds the present state and nothing else.
// Until the rename the old file is the journal.
func (j *Journal) rewrite() error {
	b, err := encode(j.records()...)
	if err != nil {
		return err
	}
	temp := j.path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temp, j.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(temp))
	}
	old := j.file
	j.file, j.size = f, int64(len(b))
	if old != nil {
		_ = old.Close() // nothing will be written to it.
	}
	return syncDir(filepath.Dir(j.path))
}

// records is the present state as a file begins with it.
func (j *Journal) records() []record {
	rs := []record{{Kind: kindBorn, At: j.born}}
	for _, k := range slices.SortedFunc(maps.Keys(j.entries), compareKeys) {
		e := j.entries[k]
		if e.Stage == Ended {
			rs = append(rs, record{Kind: kindEnd, Key: k, Expires: e.Expires, Forget: e.forget, Report: e.report})
			continue
		}
		rs = append(rs, record{Kind: kindTake, Key: k, Expires: e.Expires, Idempotent: e.Idempotent, Woke: e.Woke})
		if e.Stage == Started {
			rs = append(rs, record{Kind: kindStart, Key: k, Mark: e.Mark})
		}
	}
	return append(rs, record{Kind: kindCursor, Epoch: j.cursor.Epoch, Seq: j.cursor.Seq})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
