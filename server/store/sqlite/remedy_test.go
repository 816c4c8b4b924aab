package sqlite

import (
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
