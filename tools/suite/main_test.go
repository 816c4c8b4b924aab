package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAssignGivesEveryPackageToOneSuite(t *testing.T) {
	got := assign(suites(), `alps/mesh testing
alps/mesh/consul testing alps/mesh/consul/cluster
alps/mesh/consul/cluster testing
alps/server/cmdb testing alps/server/cmdb alps/mesh/consul/cluster
alps/server/job
alps/cmd/alps alps/cmd/alps/internal/dev alps/mesh/consul/cluster
alps/cmd/alps/internal/dev
alps/cmd/alps/internal/arch testing
alps/checks/hdfs/cluster testing
alps/checks/hdfs/told alps/cmd/alps/internal/loop alps/checks/hdfs/cluster
`)
	want := map[string][]string{
		"unit":   {"alps/mesh", "alps/server/job", "alps/cmd/alps/internal/arch"},
		"consul": {"alps/mesh/consul", "alps/mesh/consul/cluster", "alps/server/cmdb"},
		"e2e":    {"alps/cmd/alps", "alps/cmd/alps/internal/dev"},
		"hdfs":   {"alps/checks/hdfs/cluster", "alps/checks/hdfs/told"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("assign (-want +got):\n%s", diff)
	}
}

func TestLineHolderKeepsTheLastLine(t *testing.T) {
	for name, tc := range map[string]struct{ in, out, held string }{
		"nothing":       {"", "", ""},
		"one line":      {"ok\n", "", "ok\n"},
		"two lines":     {"ok a\nok b\n", "ok a\n", "ok b\n"},
		"no newline":    {"ok a\nFAIL", "ok a\n", "FAIL"},
		"an empty line": {"a\n\nFAIL\n", "a\n\n", "FAIL\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, chunk := range []int{1, 2, 100} {
				var out strings.Builder
				h := &lineHolder{out: &out}
				for rest := tc.in; rest != ""; {
					n := min(chunk, len(rest))
					if _, err := io.WriteString(h, rest[:n]); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if out.String() != tc.out || string(h.line) != tc.held {
					t.Errorf("chunks of %d: passed on %q and kept %q, want %q and %q", chunk, out.String(), h.line, tc.out, tc.held)
				}
			}
		})
	}
}
