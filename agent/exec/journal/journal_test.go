package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/mesh"
)

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}, path string, now time.Time,
) *Journal {
	t.Helper()
	j, err := Open(path, now)
	if err != nil {
		t.Fatal(err)
	}
	// A case that ends early, as rapid's do when they shrink, must not keep
	// the lock.
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func key(n int) Key { return Key{mesh.JobID(fmt.Sprintf("%016x", n)), 1} }

func report(k Key, s mesh.State, at time.Time) mesh.Report {
	return mesh.Report{Job: k.Job, Attempt: k.Attempt, State: s, At: at}
}

func must(t interface {
	Helper()
	Fatal(...any)
}, err error,
) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLifeOfAnAttempt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "exec", "journal")
	exp := day.Add(time.Hour).Unix()
	j := open(t, path, day)
	must(t, j.Take(Cursor{"e", 7},
		Entry{Key: key(1), Expires: exp, Woke: mesh.WokeEvent},
		Entry{Key: key(2), Expires: exp, Idempotent: true},
		Entry{Key: key(3), Expires: exp}))
	must(t, j.Start(key(1), "m1"))
	must(t, j.Start(key(2), "m2"))
	must(t, j.End(report(key(4), mesh.Rejected, day), exp))
	must(t, j.End(report(key(5), mesh.OK, day), exp))
	must(t, j.Sent(key(5)))

	check := func(j *Journal) {
		t.Helper()
		want := []Entry{
			{Key: key(1), Stage: Started, Expires: exp, Woke: mesh.WokeEvent, Mark: "m1"},
			{Key: key(2), Stage: Started, Expires: exp, Idempotent: true, Mark: "m2"},
			{Key: key(3), Stage: Taken, Expires: exp},
		}
		if diff := cmp.Diff(want, j.Open()); diff != "" {
			t.Errorf("open (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]mesh.Report{report(key(4), mesh.Rejected, day)}, j.Unsent()); diff != "" {
			t.Errorf("unsent (-want +got):\n%s", diff)
		}
		if got := j.Cursor(); got != (Cursor{"e", 7}) || !j.Born().Equal(day) || j.Damaged() != 0 {
			t.Errorf("got cursor %v, born %v, damaged %d", got, j.Born(), j.Damaged())
		}
		if err := j.Start(key(1), "again"); !errors.Is(err, ErrStarted) {
			t.Errorf("second start: got %v", err)
		}
		if err := j.Start(key(5), "again"); !errors.Is(err, ErrStarted) {
			t.Errorf("start after the end: got %v", err)
		}
		if err := j.Start(key(6), "never"); err == nil {
			t.Error("start of what was not taken: got no error")
		}
	}
	check(j)
	must(t, j.Close())
	j = open(t, path, day.Add(time.Minute))
	check(j)
	must(t, j.Compact(day))
	check(j)
	must(t, j.Close())
	j = open(t, path, day.Add(time.Hour))
	check(j)
	must(t, j.Start(key(2), "m2b"))
	must(t, j.Close())
}

func TestForgetsWhenNothingCanBeReplayed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, day)
	exp := day.Add(time.Hour)
	must(t, j.Take(Cursor{}, Entry{Key: key(1), Expires: exp.Unix()}, Entry{Key: key(2), Expires: exp.Unix()}))
	must(t, j.End(report(key(1), mesh.OK, day), exp.Unix()))
	must(t, j.Sent(key(1)))
	must(t, j.Compact(exp.Add(mesh.RememberFor)))
	if got := j.Stage(key(1)); got != Ended {
		t.Errorf("at expiry + 24 h: got stage %d, want Ended", got)
	}
	must(t, j.Compact(exp.Add(mesh.RememberFor+time.Second)))
	if got := j.Stage(key(1)); got != None {
		t.Errorf("after it: got stage %d, want None", got)
	}
	if got := j.Stage(key(2)); got != Taken {
		t.Errorf("an open attempt: got stage %d, want Taken", got)
	}
	must(t, j.Close())
}

func TestSecondOwnerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, day)
	if _, err := Open(path, day); mesh.CodeOf(err) != mesh.Conflict {
		t.Errorf("second open: got %v, want a conflict", err)
	}
	must(t, j.Close())
	must(t, open(t, path, day).Close())
	if err := j.Take(Cursor{"x", 1}); err == nil {
		t.Error("a closed journal took a change")
	}
}

func TestGoneJournalIsBornAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, day)
	must(t, j.Close())
	for i, gone := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.Truncate(path, 0) },
		func() error { return os.Truncate(path, 20) }, // less than its first record.
	} {
		must(t, gone())
		now := day.Add(time.Duration(i+1) * time.Hour)
		j = open(t, path, now)
		if got := j.Born(); !got.Equal(now) {
			t.Errorf("case %d: got born %v", i, got)
		}
		must(t, j.Close())
	}
}

// done is what a test knows to be on the disk at one length of the file.
type done struct {
	size   int64
	stages map[Key]Stage
}

// script is a random life of a journal without compaction: after each method
// that returned, what must be remembered from there on.
func script(t *rapid.T, j *Journal) []done {
	var log []done
	stages := map[Key]Stage{}
	note := func() { log = append(log, done{j.size, maps.Clone(stages)}) }
	note()
	for i := range rapid.IntRange(1, 6).Draw(t, "steps") {
		k := key(rapid.IntRange(1, 4).Draw(t, "job"))
		idem := k == key(4)
		switch rapid.SampledFrom([]string{"take", "start", "end", "sent", "cursor"}).Draw(t, "op") {
		case "take":
			must(t, j.Take(Cursor{"e", uint64(i)}, Entry{Key: k, Expires: day.Unix(), Idempotent: idem}))
			stages[k] = max(stages[k], Taken)
		case "start":
			err := j.Start(k, fmt.Sprint("m", i))
			if may := stages[k] == Taken || stages[k] == Started && idem; may != (err == nil) {
				t.Fatalf("start %v in stage %d: %v", k, stages[k], err)
			}
			if err == nil {
				stages[k] = Started
			}
		case "end":
			must(t, j.End(report(k, mesh.OK, day), day.Unix()))
			stages[k] = Ended
		case "sent":
			must(t, j.Sent(k))
		case "cursor":
			must(t, j.Take(Cursor{"e", uint64(i)}))
		}
		note()
	}
	return log
}

// A crash may leave any prefix of what was written. What a method had
// returned from before is there, and nothing can be started a second time.
func TestCrashAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path, cut := filepath.Join(dir, "journal"), filepath.Join(dir, "cut")
		_ = os.Remove(path)
		j := open(t, path, day)
		log := script(t, j)
		must(t, j.Close())
		whole, err := os.ReadFile(path)
		must(t, err)
		// The first records are put in place whole, by a rename.
		for n := int(log[0].size); n <= len(whole); n++ {
			must(t, os.WriteFile(cut, whole[:n], 0o600))
			j := open(t, cut, day.Add(time.Hour))
			err := checkCut(j, log, int64(n))
			must(t, errors.Join(err, j.Close()))
			if b, err := os.ReadFile(cut); err != nil || !isSound(b) {
				t.Fatalf("cut at %d: the file was not left sound", n)
			}
		}
	})
}

func isSound(b []byte) bool {
	_, sound, damaged := scan(b)
	return sound == int64(len(b)) && damaged == 0
}

func checkCut(j *Journal, log []done, n int64) error {
	if j.Damaged() != 0 || !j.Born().Equal(day) {
		return fmt.Errorf("cut at %d: a torn end was counted as damage", n)
	}
	for _, d := range log {
		if d.size > n {
			break
		}
		for k, want := range d.stages {
			if got := j.Stage(k); got < want {
				return fmt.Errorf("cut at %d: %v is in stage %d, was in %d when the method returned", n, k, got, want)
			}
			if err := j.startable(k); want == Started && k != key(4) && err == nil {
				return fmt.Errorf("cut at %d: %v could be started again", n, k)
			}
		}
	}
	return nil
}

// startable is Start without the writing.
func (j *Journal) startable(k Key) error {
	e := j.entries[k]
	if e == nil || e.Stage == Ended || e.Stage == Started && !e.Idempotent {
		return ErrStarted
	}
	return nil
}

// A damaged record in the middle may have been a start. Either the journal
// still knows the attempt, or it says that it was born anew, and its owner
// refuses everything that was issued before.
func TestDamageInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "journal")
		_ = os.Remove(path)
		j := open(t, path, day)
		script(t, j)
		must(t, j.Take(Cursor{"last", 99}))
		must(t, j.Close())
		b, err := os.ReadFile(path)
		must(t, err)
		// Without the line end before the last line, the two are one torn end.
		last := bytes.LastIndexByte(b[:len(b)-1], '\n')
		at := rapid.IntRange(0, last-1).Draw(t, "at")
		b[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		must(t, os.WriteFile(path, b, 0o600))

		now := day.Add(time.Hour)
		j = open(t, path, now)
		born, damaged := j.Born(), j.Damaged()
		must(t, j.Close())
		if !born.Equal(now) || damaged == 0 {
			t.Fatalf("damage at %d of %d: born %v, %d damaged", at, len(b), born, damaged)
		}
		j = open(t, path, now.Add(time.Hour))
		born, damaged = j.Born(), j.Damaged()
		must(t, j.Close())
		if !born.Equal(now) || damaged != 0 {
			t.Fatalf("opened again: born %v, %d damaged; want the damage to be mended", born, damaged)
		}
	})
}

// A flipped bit turns a letter of the sum into its capital.
func TestSumInCapitalsIsDamage(t *testing.T) {
	for i := range 64 {
		b, err := encode(record{Kind: kindCursor, Seq: uint64(i)})
		must(t, err)
		line := bytes.TrimSuffix(b, []byte("\n"))
		upper := append(bytes.ToUpper(line[:8]), line[8:]...)
		if _, ok := decode(upper); ok && !bytes.Equal(upper, line) {
			t.Errorf("%s was read as sound", upper)
		}
	}
}

func TestCrashInCompactionLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, day)
	must(t, j.Take(Cursor{"e", 1}, Entry{Key: key(1), Expires: day.Unix()}))
	must(t, j.Start(key(1), "m"))
	must(t, j.Close())
	must(t, os.WriteFile(path+".new", []byte("half a fi"), 0o600))
	j = open(t, path, day)
	if j.Stage(key(1)) != Started {
		t.Error("the start is forgotten")
	}
	must(t, j.Compact(day))
	must(t, j.Close())
	if _, err := os.Stat(path + ".new"); !os.IsNotExist(err) {
		t.Errorf("the half file is still there: %v", err)
	}
}

func TestFailedWriteLeavesNoHalfLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, day)
	good := j.file
	readonly, err := os.Open(path)
	must(t, err)
	j.file = readonly
	if err := j.Take(Cursor{"e", 1}, Entry{Key: key(1)}); err == nil {
		t.Error("a failed write: got no error")
	}
	if j.Stage(key(1)) != None {
		t.Error("what could not be written is believed")
	}
	j.file = good
	must(t, readonly.Close())
	must(t, j.Close())
	if b, err := os.ReadFile(path); err != nil || !isSound(b) {
		t.Errorf("the file is not sound: %q %v", b, err)
	}
}

func FuzzScan(f *testing.F) {
	b, err := encode(record{Kind: kindBorn, At: day}, record{Kind: kindTake, Key: key(1)}, record{Kind: kindStart, Key: key(1), Mark: "m"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add(append([]byte("00000000 {}\n"), b...))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, sound, damaged := scan(b)
		if sound < 0 || sound > int64(len(b)) || damaged < 0 {
			t.Fatalf("sound %d of %d, damaged %d", sound, len(b), damaged)
		}
		again, sound2, damaged2 := scan(b[:sound])
		if sound2 != sound || damaged2 != damaged || len(again) != len(rs) {
			t.Fatalf("what was sound reads differently when it is read again")
		}
	})
}
