package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"alps/mesh"
	"alps/server/remedy"
	"alps/server/remedy/remedytest"
)

func TestRemedyStore(t *testing.T) {
	remedytest.TestStore(t, func(t *testing.T) remedy.Store { return open(t) })
}

// TestRemedySurvives says that a run and a pause are there when the file is
// opened again.
func TestRemedySurvives(t *testing.T) {
	db, ctx := open(t), t.Context()
	run := remedy.Record{RemedyRun: mesh.RemedyRun{ID: "a", Policy: "p", State: mesh.RemedyRunning, Decided: time.Now()}}
	if err := db.PutRemedyRuns(ctx, 7, []remedy.Record{run}); err != nil {
		t.Fatal(err)
	}
	if err := db.PauseRemedy(ctx, remedy.Pause{By: "ann", At: time.Now(), Reason: "rack 11"}); err != nil {
		t.Fatal(err)
	}
	again, err := Open(ctx, db.path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	runs, err := again.RemedyRuns(ctx, remedy.Filter{Open: true})
	if err != nil || len(runs) != 1 || runs[0].ID != "a" {
		t.Errorf("open runs %+v, %v, want a", runs, err)
	}
	sw, err := again.RemedySwitch(ctx)
	if err != nil || sw.All() == nil || sw.All().Reason != "rack 11" {
		t.Errorf("switch %+v, %v, want a pause", sw, err)
	}
}

// TestRemedyOfAnOlderVersion opens a history in which a run is under way and all
// is paused, from when there were no groups.
func TestRemedyOfAnOlderVersion(t *testing.T) {
	const before = 5
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "history.db")
	old := &DB{path: path}
	var err error
	if old.writer, err = connect(path, 1, "_txlock=immediate"); err != nil {
		t.Fatal(err)
	}
	for _, m := range migrations()[:before] {
		if err := old.apply(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{
		`INSERT INTO remedy_runs (id, policy, incident, guard, acts, open, told, decided, doc)
			VALUES ('a', 'p', 'i', '', 1, 1, 1, 1, '{"id":"a","policy":"p","dc":"dc1","node":"n1","state":"running"}')`,
		`INSERT INTO remedy_pause (id, doc) VALUES (1, '{"By":"ann","At":"2026-11-21T12:00:00Z","Reason":"rack 11"}')`,
	} {
		if _, err := old.writer.ExecContext(ctx, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.writer.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sw, err := db.RemedySwitch(ctx)
	if err != nil || sw.All() == nil || sw.All().By != "ann" {
		t.Fatalf("switch %+v, %v, want that ann has paused all", sw, err)
	}
	if err := db.ResumeRemedy(ctx, remedy.Pause{By: "bob"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		id, group, node string
		taken           bool
	}{
		{"b", "", "n2", true},
		{"c", "hdfs", "n1", true},
		{"d", "hdfs", "n2", false},
	} {
		r := remedy.Record{RemedyRun: mesh.RemedyRun{
			ID: mesh.RemedyRunID(tt.id), Policy: "q", Group: tt.group, DC: "dc1", Node: mesh.NodeName(tt.node), State: mesh.RemedyDecided,
		}}
		err := db.PutRemedyRuns(ctx, 1, []remedy.Record{r})
		if taken := mesh.CodeOf(err) == mesh.Conflict; taken != tt.taken || err != nil && !taken {
			t.Errorf("a run of the group %q on %s: %v, want it refused: %v", tt.group, tt.node, err, tt.taken)
		}
	}
}
