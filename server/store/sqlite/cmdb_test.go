package sqlite

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
	"alps/server/cmdb"
	"alps/server/enrol"
)

func TestEnrolled(t *testing.T) {
	db := open(t)
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for i, id := range []mesh.NodeID{"b", "a"} {
		n := enrol.Node{ID: id, Evidence: enrol.Evidence{Hostname: "bj-e-admin01"}, EnrolledAt: noon.Add(time.Duration(i) * time.Hour)}
		if err := db.SaveNode(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Revoke(t.Context(), "b", enrol.Revocation{At: noon, By: "ops", Reason: "sold"}); err != nil {
		t.Fatal(err)
	}
	got, err := db.Enrolled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []cmdb.Enrolment{{ID: "a", EnrolledAt: noon.Add(time.Hour)}, {ID: "b", EnrolledAt: noon, Revoked: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("enrolled (-want +got):\n%s", diff)
	}
}

func TestChanges(t *testing.T) {
	db := open(t)
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	change := func(node mesh.NodeID, field, to string, minute int) cmdb.Change {
		return cmdb.Change{Node: node, Name: "bj-e-admin01", Field: field, Old: "?", New: to, At: noon.Add(time.Duration(minute) * time.Minute)}
	}
	first := []cmdb.Change{change("a", "cpus", "2", 0), change("a", "kernel", "5.10", 0), change("b", "cpus", "2", 1)}
	second := []cmdb.Change{change("a", "cpus", "4", 2)}
	for _, l := range [][]cmdb.Change{first, second, first, nil} { // an agent may send twice.
		if err := db.RecordChanges(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		filter ChangeFilter
		want   []cmdb.Change
	}{
		"all":          {ChangeFilter{}, []cmdb.Change{second[0], first[2], first[1], first[0]}},
		"of a node":    {ChangeFilter{Node: "a"}, []cmdb.Change{second[0], first[1], first[0]}},
		"of a field":   {ChangeFilter{Node: "a", Field: "cpus"}, []cmdb.Change{second[0], first[0]}},
		"since":        {ChangeFilter{Since: noon.Add(time.Minute)}, []cmdb.Change{second[0], first[2]}},
		"the last one": {ChangeFilter{Limit: 1}, []cmdb.Change{second[0]}},
		"of nobody":    {ChangeFilter{Node: "c"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := db.Changes(t.Context(), tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}
