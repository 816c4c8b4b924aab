package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alps/mesh"
	"alps/server/auth"
	"alps/server/auth/authtest"
	"alps/server/enrol"
	"alps/server/enrol/enroltest"
	"alps/server/job"
	"alps/server/job/jobtest"
)

// writerEnv names the file that the test binary, run again, writes until it
// is killed.
const writerEnv = "ALPS_TEST_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		fmt.Fprintln(os.Stderr, writeForEver(context.Background(), path))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "history #1?.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestJobHistory(t *testing.T) {
	jobtest.TestHistory(t, func(t *testing.T) job.History { return open(t) })
}

func TestTokens(t *testing.T) {
	authtest.Run(t, func(t *testing.T) auth.Store { return open(t) })
}

func TestFileMode(t *testing.T) {
	db := open(t)
	if err := db.SetValue(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(db.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("mode of %s is %o, want 600", filepath.Base(db.path+suffix), got)
		}
	}
}

func TestPragmas(t *testing.T) {
	db := open(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000"} {
		got, err := text(db.writer.QueryRowContext(t.Context(), "PRAGMA "+pragma))
		if err != nil || got != want {
			t.Errorf("PRAGMA %s = %q, %v, want %q", pragma, got, err, want)
		}
	}
	if _, err := db.readers.ExecContext(t.Context(), "INSERT INTO meta VALUES ('a', 'b')"); err == nil {
		t.Error("a reader may write")
	}
}

func TestMeta(t *testing.T) {
	db := open(t)
	if _, err := db.Value(t.Context(), "cluster"); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("Value of nothing: %v, want %q", err, mesh.NotFound)
	}
	for _, v := range []string{"first", "second"} {
		if got, err := db.InitValue(t.Context(), "cluster", v); err != nil || got != "first" {
			t.Errorf("InitValue(%q) = %q, %v, want the first", v, got, err)
		}
	}
	if err := db.SetValue(t.Context(), "cluster", "third"); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Value(t.Context(), "cluster"); err != nil || got != "third" {
		t.Errorf("Value = %q, %v, want the third", got, err)
	}
}

func TestAudit(t *testing.T) {
	db := open(t)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var all []mesh.Audit // the newest first.
	for i := range 5 {
		a := mesh.Audit{
			Time: start.Add(time.Duration(i) * time.Minute), Actor: "li", From: "127.0.0.1", Action: "job.submit",
			Object: fmt.Sprint("job", i), Outcome: mesh.OutcomeDone, Reason: "r", Detail: map[string]string{"n": fmt.Sprint(i)},
		}
		if i == 3 {
			a.Actor, a.Action, a.Detail = "wang", "token.create", nil
		}
		if err := db.Record(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		all = append([]mesh.Audit{a}, all...)
	}
	tests := map[string]struct {
		f    AuditFilter
		want []mesh.Audit
	}{
		"all":       {AuditFilter{}, all},
		"actor":     {AuditFilter{Actor: "wang"}, all[1:2]},
		"action":    {AuditFilter{Action: "token.create"}, all[1:2]},
		"noun":      {AuditFilter{Action: "token."}, all[1:2]},
		"not exact": {AuditFilter{Action: "token"}, nil},
		"object":    {AuditFilter{Object: "job4"}, all[:1]},
		"times":     {AuditFilter{Since: all[3].Time, Until: all[1].Time}, all[2:4]},
		"limit":     {AuditFilter{Limit: 2}, all[:2]},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, _, err := db.Audit(t.Context(), tt.f)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Audit (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("pages", func(t *testing.T) {
		var got []mesh.Audit
		for before, pages := int64(0), 0; pages == 0 || before != 0; pages++ {
			page, next, err := db.Audit(t.Context(), AuditFilter{Limit: 2, Before: before})
			if err != nil || pages > len(all) {
				t.Fatalf("page %d: %v", pages, err)
			}
			got, before = append(got, page...), next
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("all pages (-want +got):\n%s", diff)
		}
	})
}

// TestConcurrentWrites shows that what is written together fails apart.
func TestConcurrentWrites(t *testing.T) {
	db := open(t)
	const writers = 50
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			n := jobtest.NewJob(3, i)
			n.Job.Token = fmt.Sprint("token", i/2) // of each pair one conflicts.
			errs[i] = db.Create(t.Context(), n)
		})
	}
	wg.Wait()
	var good int
	for i, err := range errs {
		switch mesh.CodeOf(err) {
		case "":
			good++
		case mesh.Conflict:
		default:
			t.Errorf("writer %d: %v", i, err)
		}
	}
	jobs, err := db.Jobs(t.Context(), job.Filter{})
	if err != nil || good != writers/2 || len(jobs) != good {
		t.Errorf("%d writers succeeded, %d jobs are there (%v), want %d", good, len(jobs), err, writers/2)
	}
	for _, j := range jobs {
		if targets, err := db.Targets(t.Context(), j.ID); err != nil || len(targets) != 3 {
			t.Errorf("job %s has %d targets, %v, want 3", j.ID, len(targets), err)
		}
	}
}

func TestCancelledWrite(t *testing.T) {
	db := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.SetValue(ctx, "k", "v"); !errors.Is(err, context.Canceled) {
		t.Errorf("SetValue = %v, want %v", err, context.Canceled)
	}
	if err := db.SetValue(t.Context(), "other", "v"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Value(t.Context(), "k"); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("what nobody waited for was written: %v", err)
	}
}

func TestDiskFull(t *testing.T) {
	db := open(t)
	if _, err := db.writer.ExecContext(t.Context(), "PRAGMA max_page_count = 60"); err != nil {
		t.Fatal(err)
	}
	err := db.Create(t.Context(), jobtest.NewJob(10_000, 0))
	if mesh.CodeOf(err) != mesh.Unavailable || !strings.Contains(err.Error(), "is full") {
		t.Fatalf("Create on a full disk = %v, want %q and a text that says so", err, mesh.Unavailable)
	}
	if _, err := db.writer.ExecContext(t.Context(), "PRAGMA max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	if jobs, err := db.Jobs(t.Context(), job.Filter{}); err != nil || len(jobs) != 0 {
		t.Errorf("after a failed write there are %d jobs, %v, want none", len(jobs), err)
	}
	if err := db.Create(t.Context(), jobtest.NewJob(10_000, 0)); err != nil {
		t.Errorf("Create when there is space again: %v", err)
	}
}

func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "damaged, or not a history") {
		t.Errorf("Open of something else = %v", err)
	}
}

// writeForEver stores jobs one after the other, and prints the id of each that
// is stored.
func writeForEver(ctx context.Context, path string) error {
	db, err := Open(ctx, path)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		n := jobtest.NewJob(200, i)
		if err := db.Create(ctx, n); err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, n.Job.ID)
	}
}

// TestKilled kills a writer in the middle of its work: what it confirmed is
// there, whole, and nothing is there by halves.
func TestKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "history.db")
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), writerEnv+"="+path)
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var confirmed []mesh.JobID
		for range 5 + round {
			var id string
			if _, err := fmt.Fscanln(stdout, &id); err != nil {
				t.Fatalf("the writer ended: %v", err)
			}
			confirmed = append(confirmed, mesh.JobID(id))
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as it should be.

		checkKilled(t, path, confirmed)
	}
}

func checkKilled(t *testing.T, path string, confirmed []mesh.JobID) {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if got, err := text(db.writer.QueryRowContext(t.Context(), "PRAGMA integrity_check")); err != nil || got != "ok" {
		t.Errorf("integrity_check = %q, %v", got, err)
	}
	for _, id := range confirmed {
		if _, err := db.Job(t.Context(), id); err != nil {
			t.Errorf("a confirmed job is lost: %v", err)
		}
	}
	jobs, err := db.Jobs(t.Context(), job.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if targets, err := db.Targets(t.Context(), j.ID); err != nil || len(targets) != 200 {
			t.Errorf("job %s has %d targets, %v, want 200", j.ID, len(targets), err)
		}
	}
}

func BenchmarkCreate10k(b *testing.B) {
	db, err := Open(b.Context(), filepath.Join(b.TempDir(), "history.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for b.Loop() {
		if err := db.Create(b.Context(), jobtest.NewJob(10_000, 0)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyOne(b *testing.B) {
	db, err := Open(b.Context(), filepath.Join(b.TempDir(), "history.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	n := jobtest.NewJob(1000, 0)
	if err := db.Create(b.Context(), n); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c := job.Change{Jobs: []job.Job{n.Job}, Targets: map[mesh.JobID][]job.Target{n.Job.ID: n.Targets[:1]}}
		if err := db.Apply(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

func TestEnrolments(t *testing.T) {
	enroltest.Run(t, func(t *testing.T) enrol.Store { return open(t) })
}
