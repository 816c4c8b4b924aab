package check

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"alps/mesh"
)

func FuzzCursor(f *testing.F) {
	f.Add("bj-e-01", "n", "web")
	f.Add("a/b", "c%2Fd", "x/y/z")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, dc, name, id string) {
		want := cursor{place{dc, mesh.NodeName(name)}, id}
		if got := parseCursor(want.String()); got != want {
			t.Errorf("%+v as %q is read as %+v", want, want.String(), got)
		}
		parseCursor(id) // whatever a caller says is some place.
	})
}

type oneNode struct{}

func (oneNode) Nodes() []mesh.Node {
	return []mesh.Node{{ID: "a", Name: "n", DC: "d", Status: mesh.MemberAlive, Agent: mesh.AgentLinked}}
}

// FuzzReport takes whatever an agent may send. What is taken is within the
// limits and can be shown.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"full":true,"results":[{"check":"web","seq":1,"status":"critical","hard":"passing","output":"x"}]}`))
	f.Add([]byte(`{"results":[{"check":"web","seq":2,"period":-1}],"gone":["web"]}`))
	f.Add([]byte(`{"results":[{"check":"serfHealth","hard":"critical"},{"check":"alps-agent"}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var r mesh.CheckReport
		if json.Unmarshal(payload, &r) != nil {
			return
		}
		s, err := New(Options{Inventory: oneNode{}})
		if err != nil {
			t.Fatal(err)
		}
		s.follow(time.Now())
		reports := []mesh.CheckReport{r, {Results: []mesh.CheckResult{{Check: "last", Seq: 1}}}, r}
		if err := s.Commit(t.Context(), "a", "1", reports); err != nil {
			if mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("Commit = %v, want code %s", err, mesh.Invalid)
			}
			reports = nil
		}
		states := s.Node("d", "n")
		if len(states) > MaxChecks+2 || reports == nil && len(states) > 1 {
			t.Errorf("%d states, refused: %v", len(states), reports == nil)
		}
		for _, st := range states {
			res := st.Result
			if st.Status == "" || len(res.Output) > mesh.MaxCheckOutput || !utf8.ValidString(res.Output+res.Name+res.Check) ||
				res.Name == "" || res.Period < 0 {
				t.Errorf("kept: %+v", st)
			}
		}
	})
}
