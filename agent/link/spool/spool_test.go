package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
	"alps/mesh/frame"
)

func open(t testing.TB, o Options) *Spool {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t testing.TB, s *Spool, k frame.Kind, text string, durable bool) uint64 {
	t.Helper()
	seq, err := s.Append(k, []byte(text), durable)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// rest reads all that is left as "seq:payload", with a bar between boots.
func rest(s *Spool) string {
	var out []string
	var boot frame.BootID
	for r, ok := s.Next(); ok; r, ok = s.Next() {
		if boot != "" && boot != r.Boot {
			out = append(out, "|")
		}
		boot = r.Boot
		out = append(out, fmt.Sprintf("%d:%s", r.Seq, r.Payload))
	}
	return strings.Join(out, " ")
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestOrderOverLanesAndBoots(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	add(t, s, frame.Exec, "a", true)
	add(t, s, frame.Exec, "b", false)
	add(t, s, frame.Exec, "c", true)
	if got, want := rest(s), "1:a 2:b 3:c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// No Close: a kill.
	s = open(t, Options{Dir: dir})
	add(t, s, frame.Exec, "d", false)
	add(t, s, frame.Exec, "e", true)
	if got, want := rest(s), "1:a 2:b 3:c | 1:d 2:e"; got != want {
		t.Errorf("after a restart: got %q, want %q", got, want)
	}
	s.Rewind()
	if got, want := rest(s), "1:a 2:b 3:c | 1:d 2:e"; got != want {
		t.Errorf("after Rewind: got %q, want %q", got, want)
	}
	s.Ack(s.Boot(), 1)
	s.Rewind()
	if got, want := rest(s), "1:a 2:b 3:c | 2:e"; got != want {
		t.Errorf("after Ack: got %q, want %q", got, want)
	}
	if got := s.Stats().Waiting; got != 4 {
		t.Errorf("%d wait, want 4", got)
	}
}

func TestAckedFilesGo(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	old := s.Boot()
	add(t, s, frame.Exec, "a", true)
	s = open(t, Options{Dir: dir})
	s.Ack(old, 1)
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files of an acknowledged run are left: %v", got)
	}
	add(t, s, frame.Exec, "b", true)
	s.Ack(s.Boot(), 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files are left after Close: %v", got)
	}
}

func TestOnlyTheLatestFact(t *testing.T) {
	s := open(t, Options{})
	add(t, s, frame.Fact, "f1", false)
	add(t, s, frame.Exec, "e", true)
	add(t, s, frame.Fact, "f2", false)
	if got, want := rest(s), "2:e 3:f2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if d, _ := s.Losses(); d != 0 {
		t.Errorf("a fact that was replaced counts as %d losses", d)
	}
}

func TestTooLarge(t *testing.T) {
	s := open(t, Options{})
	if _, err := s.Append(frame.Exec, make([]byte, frame.MaxPayload+1), true); mesh.CodeOf(err) != mesh.TooLarge {
		t.Errorf("got %v, want code %s", err, mesh.TooLarge)
	}
	if seq := add(t, s, frame.Exec, strings.Repeat("x", frame.MaxPayload), true); seq != 1 {
		t.Errorf("a refused message took a number: the next is %d", seq)
	}
	if r, ok := s.Next(); !ok || len(r.Payload) != frame.MaxPayload {
		t.Errorf("the largest message came back with %d bytes, %v", len(r.Payload), ok)
	}
}

// TestDamage writes five records, spoils the file, and opens it again.
func TestDamage(t *testing.T) {
	const size = prefixSize + bodyHead + 1
	for name, tc := range map[string]struct {
		spoil   func([]byte) []byte
		want    string
		damaged uint64
	}{
		"whole":              {func(b []byte) []byte { return b }, "1:a 2:b 3:c 4:d 5:e", 0},
		"torn tail":          {func(b []byte) []byte { return b[:len(b)-1] }, "1:a 2:b 3:c 4:d", 0},
		"torn in a prefix":   {func(b []byte) []byte { return b[:4*size+3] }, "1:a 2:b 3:c 4:d", 0},
		"zeroes at the end":  {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, "1:a 2:b 3:c 4:d 5:e", 0},
		"a payload":          {func(b []byte) []byte { b[2*size+prefixSize+bodyHead] ^= 1; return b }, "1:a 2:b 4:d 5:e", 1},
		"a length":           {func(b []byte) []byte { b[2*size] = 0xff; return b }, "1:a 2:b 4:d 5:e", 1},
		"two in a row":       {func(b []byte) []byte { b[2*size+9] ^= 1; b[3*size+9] ^= 1; return b }, "1:a 2:b 5:e", 1},
		"the first":          {func(b []byte) []byte { b[9] ^= 1; return b }, "2:b 3:c 4:d 5:e", 1},
		"the last":           {func(b []byte) []byte { b[4*size+9] ^= 1; return b }, "1:a 2:b 3:c 4:d", 0},
		"nothing but rubble": {func(b []byte) []byte { return bytes.Repeat([]byte{7}, len(b)) }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Options{Dir: dir})
			for _, p := range []string{"a", "b", "c", "d", "e"} {
				add(t, s, frame.Exec, p, true)
			}
			path := files(t, dir)[0]
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tc.spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, Options{Dir: dir})
			_, damaged := s.Losses()
			if damaged != tc.damaged {
				t.Errorf("%d damaged, want %d", damaged, tc.damaged)
			}
			if got := rest(s); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if add(t, s, frame.Exec, "new", true); !strings.HasSuffix(rest(s), "1:new") {
				t.Error("the spool takes nothing new")
			}
		})
	}
}

func TestForeignFilesStay(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"README", "0000000100000000-00000000-x.seg", "zz-1-d.seg"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := rest(open(t, Options{Dir: dir})); got != "" {
		t.Errorf("got %q out of foreign files", got)
	}
	if ents, _ := os.ReadDir(dir); len(ents) != 3 {
		t.Errorf("%d foreign files are left, want 3", len(ents))
	}
}

func TestFullDropsLooseFirst(t *testing.T) {
	s := open(t, Options{MaxBytes: 16 << 10})
	body := strings.Repeat("x", 1<<10)
	for range 4 {
		add(t, s, frame.Exec, "durable "+body, true)
		add(t, s, frame.Exec, "loose "+body, false)
	}
	for range 9 {
		add(t, s, frame.Exec, "durable "+body, true)
	}
	var durable, loose int
	for r, ok := s.Next(); ok; r, ok = s.Next() {
		if strings.HasPrefix(string(r.Payload), "durable") {
			durable++
		} else {
			loose++
		}
	}
	dropped, _ := s.Losses()
	if durable != 13 || loose+int(dropped) != 4 || dropped == 0 {
		t.Errorf("%d durable and %d loose are left, %d dropped; want all 13 durable ones", durable, loose, dropped)
	}
	for range 20 {
		add(t, s, frame.Exec, "durable "+body, true)
	}
	if b := s.Stats().Bytes; b > 16<<10 {
		t.Errorf("%d bytes in a spool of 16 KiB", b)
	}
	s.Rewind()
	var n uint64
	for _, ok := s.Next(); ok; _, ok = s.Next() {
		n++
	}
	if dropped, _ = s.Losses(); n+dropped != 4+4+9+20 {
		t.Errorf("%d are left and %d dropped, want %d together", n, dropped, 4+4+9+20)
	}
	s.Reported(dropped, 0)
	if d, _ := s.Losses(); d != 0 {
		t.Errorf("%d losses after all were reported", d)
	}
}

// fullDisk is a disk that takes bytes until it is full.
type fullDisk struct {
	file
	room *int
}

func (f fullDisk) Write(b []byte) (int, error) {
	if len(b) > *f.room {
		n, _ := f.file.Write(b[:*f.room])
		*f.room = 0
		return n, syscall.ENOSPC
	}
	*f.room -= len(b)
	return f.file.Write(b)
}

func TestDiskFull(t *testing.T) {
	room, dir := 60, t.TempDir()
	s := open(t, Options{
		Dir: dir, MaxMemory: 4 << 10, retryDisk: time.Nanosecond,
		create: func(path string) (file, error) {
			if room == 0 {
				return nil, syscall.ENOSPC
			}
			f, err := createFile(path)
			return fullDisk{f, &room}, err
		},
	})
	for _, p := range []string{"a", "b", "c", "d", "e", "f"} {
		add(t, s, frame.Exec, p, true)
	}
	if st := s.Stats(); !errors.Is(st.Disk, syscall.ENOSPC) || st.Memory == 0 {
		t.Errorf("stats = %+v, want memory in use because of %v", st, syscall.ENOSPC)
	}
	if got, want := rest(s), "1:a 2:b 3:c 4:d 5:e 6:f"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 100 {
		add(t, s, frame.Exec, strings.Repeat("x", 200), true)
	}
	if st := s.Stats(); st.Memory > 4<<10 || st.Dropped == 0 {
		t.Errorf("stats = %+v, want at most 4 KiB of memory and the oldest dropped", st)
	}

	room = 1 << 20
	add(t, s, frame.Exec, "back", true)
	if st := s.Stats(); st.Disk != nil {
		t.Errorf("the disk has room again, and is not used: %v", st.Disk)
	}
	s = open(t, Options{Dir: dir})
	if got := rest(s); !strings.HasPrefix(got, "1:a 2:b 3:c") || !strings.HasSuffix(got, ":back") {
		t.Errorf("on the disk is %q, want what came before and after it was full", got)
	}
}

// TestModel compares a spool with a plain list under random appends, reads,
// acknowledgements, rewinds and restarts.
func TestModel(t *testing.T) {
	type item struct {
		boot frame.BootID
		seq  uint64
		text string
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		s := open(t, Options{Dir: dir, MaxBytes: 1 << 20})
		var all []item  // not acknowledged in this run of the process.
		var all2 []item // everything ever written: what a restart may bring back.
		read, n := 0, 0 // of all.
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				n++
				text := fmt.Sprintf("%d%s", n, strings.Repeat("x", rapid.IntRange(0, 3000).Draw(rt, "size")))
				seq := add(t, s, frame.Exec, text, rapid.Bool().Draw(rt, "durable"))
				all = append(all, item{s.Boot(), seq, text})
				all2 = append(all2, all[len(all)-1])
			},
			"next": func(rt *rapid.T) {
				r, ok := s.Next()
				if !ok {
					if read != len(all) {
						rt.Fatalf("the end after %d of %d", read, len(all))
					}
					return
				}
				if read == len(all) {
					rt.Fatalf("got %d of %s after the last", r.Seq, r.Boot)
				}
				if d := cmp.Diff(all[read], item{r.Boot, r.Seq, string(r.Payload)}, cmp.AllowUnexported(item{})); d != "" {
					rt.Fatal(d)
				}
				read++
			},
			"ack": func(rt *rapid.T) {
				if read == 0 {
					return
				}
				it := all[rapid.IntRange(0, read-1).Draw(rt, "upto")]
				s.Ack(it.boot, it.seq)
				done := func(x item) bool { return x.boot == it.boot && x.seq <= it.seq }
				before := slices.DeleteFunc(slices.Clone(all[:read]), done)
				all = slices.DeleteFunc(slices.Clone(all), done)
				read = len(before)
			},
			"rewind": func(*rapid.T) { s.Rewind(); read = 0 },
			"restart": func(rt *rapid.T) {
				if rapid.Bool().Draw(rt, "clean") {
					if err := s.Close(); err != nil {
						rt.Fatal(err)
					}
				}
				waiting := all
				s = open(t, Options{Dir: dir, MaxBytes: 1 << 20})
				// What is on the disk must hold all that waits, in order, and
				// nothing that was never written.
				all, read = nil, 0
				for r, ok := s.Next(); ok; r, ok = s.Next() {
					all = append(all, item{r.Boot, r.Seq, string(r.Payload)})
				}
				s.Rewind()
				if !isSubsequence(waiting, all) || !isSubsequence(all, all2) {
					rt.Fatalf("after a restart: %d records, want the %d that wait and none of nobody's", len(all), len(waiting))
				}
			},
		})
		_ = s.Close()
	})
}

func isSubsequence[T comparable](part, whole []T) bool {
	for _, x := range part {
		i := slices.Index(whole, x)
		if i < 0 {
			return false
		}
		whole = whole[i+1:]
	}
	return true
}

func FuzzScan(f *testing.F) {
	good := appendRecord(appendRecord(nil, frame.Message{Kind: frame.Exec, Seq: 1, Payload: []byte("abc")}), frame.Message{Kind: frame.Fact, Seq: 2})
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append([]byte{0, 0, 0, 12, 1}, good...))
	f.Fuzz(func(t *testing.T, in []byte) {
		var again []byte
		end, damaged := scan(in, func(m frame.Message) { again = appendRecord(again, m) })
		if end > len(in) || damaged == 0 && !bytes.Equal(again, in[:end]) {
			t.Errorf("%x: end %d, damaged %d, read as %x", in, end, damaged, again)
		}
	})
}

func TestAppendAfterClose(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	add(t, s, frame.Exec, "a", true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	add(t, s, frame.Exec, "late", true)
	if got, want := rest(open(t, Options{Dir: dir})), "1:a 2:late"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
