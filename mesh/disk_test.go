package mesh_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func TestDisks(t *testing.T) {
	var many []string
	for n := range 2 * mesh.MaxDisks {
		many = append(many, fmt.Sprintf("sd%02d", n))
	}
	for name, tt := range map[string]struct{ given, want []string }{
		"none":              {nil, nil},
		"sorted":            {[]string{"sdc1", "sdb1"}, []string{"sdb1", "sdc1"}},
		"each once":         {[]string{"sdb1", "/data/1", "sdb1"}, []string{"/data/1", "sdb1"}},
		"with a space":      {[]string{"/data/my disk"}, []string{"/data/my disk"}},
		"what is no name":   {[]string{"", "a\nb", "a\xff", "a\u202eb", strings.Repeat("x", 257)}, nil},
		"more than matters": {many, many[:mesh.MaxDisks]},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(tt.given)
			if diff := cmp.Diff(tt.want, mesh.Disks(tt.given)); diff != "" {
				t.Errorf("Disks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tt.given); diff != "" {
				t.Errorf("what was given (-before +after):\n%s", diff)
			}
		})
	}
}
