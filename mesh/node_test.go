package mesh

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNaming(t *testing.T) {
	tests := map[string]struct {
		name NodeName
		want Naming
		ok   bool
	}{
		"octets and cluster":      {"bj-e-hadoop01-11-203", Naming{"bj-e", "hadoop", "01", "11", "203"}, true},
		"role of two words":       {"bj-e-general-zk-01", Naming{"bj-e", "general-zk", "", "", "01"}, true},
		"two words and octets":    {"bj-e-bigdata-es-15-70", Naming{"bj-e", "bigdata-es", "", "15", "70"}, true},
		"octets without cluster":  {"bj-e-application-21-185", Naming{"bj-e", "application", "", "21", "185"}, true},
		"no number":               {"bj-e-input-proxy", Naming{"bj-e", "input-proxy", "", "", ""}, true},
		"digit inside the role":   {"bj-e-neo4j01", Naming{"bj-e", "neo4j", "", "", "01"}, true},
		"number glued, no octets": {"bj-e-admin03", Naming{"bj-e", "admin", "", "", "03"}, true},
		"foreign name":            {"ip-10-0-0-1", Naming{}, false},
		"upper case":              {"BJ-E-ADMIN03", Naming{}, false},
		"empty":                   {"", Naming{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := ParseNaming(tt.name)
			if ok != tt.ok {
				t.Errorf("ParseNaming(%q) fits = %v, want %v", tt.name, ok, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParseNaming(%q) (-want +got):\n%s", tt.name, diff)
			}
		})
	}
}
