package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func TestChanged(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(a *Agent)
		want    Changes
		refused string
	}{
		"nothing":       {change: func(*Agent) {}},
		"an empty list": {change: func(a *Agent) { a.Exec.RunAs = []string{} }},
		"what a reload takes": {
			change: func(a *Agent) {
				a.Level, a.Fact.Interval, a.Exec.Slots, a.Exec.RunAs = "debug", time.Minute, 8, []string{"hdfs"}
			},
			want: Changes{{"log_level", true}, {"exec.run_as", true}, {"exec.slots", true}, {"fact.interval", true}},
		},
		"what needs a restart": {
			change:  func(a *Agent) { a.Consul.Address, a.Exec.Slots, a.DataDir = "10.0.0.1:8500", 8, "/other" },
			want:    Changes{{"data_dir", false}, {"consul.address", false}, {"exec.slots", true}},
			refused: "reload configuration: a change of data_dir, consul.address needs a restart",
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := DefaultAgent(), DefaultAgent()
			tc.change(after)
			got := Changed(before, after)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Changed (-want +got):\n%s", diff)
			}
			err := got.Refused()
			if tc.refused == "" {
				if err != nil {
					t.Errorf("Refused: %v, want nil", err)
				}
				return
			}
			if err == nil || err.Error() != tc.refused || mesh.CodeOf(err) != mesh.Conflict {
				t.Errorf("Refused: %v, want %q as a conflict", err, tc.refused)
			}
		})
	}
}
