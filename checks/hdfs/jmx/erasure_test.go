package jmx_test

import (
	"strings"
	"testing"

	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/jmxtest"
)

func TestErasureCoding(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*jmxtest.Server)
		groups int64
		fault  string
	}{
		"none":              {func(*jmxtest.Server) {}, 0, ""},
		"some":              {func(s *jmxtest.Server) { s.Set("ECBlockGroupsState", "TotalECBlockGroups", 7) }, 7, ""},
		"before Hadoop 3":   {func(s *jmxtest.Server) { s.Drop("ECBlockGroupsState") }, 0, ""},
		"it does not count": {func(s *jmxtest.Server) { s.Set("ECBlockGroupsState", "TotalECBlockGroups", nil) }, 0, "does not count"},
		"it is away":        {func(s *jmxtest.Server) { s.Close() }, 0, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := jmxtest.New(t, jmxtest.NameNode)
			tc.change(s)
			got, err := jmx.New(jmx.Options{}).ErasureCoding(t.Context(), s.Addr())
			switch {
			case tc.fault != "":
				if err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("got %+v, %v, want %q", got, err, tc.fault)
				}
			case err != nil || got.Groups != tc.groups:
				t.Errorf("got %+v, %v, want %d groups", got, err, tc.groups)
			}
		})
	}
}

func TestErasureCodingWidth(t *testing.T) {
	for enabled, want := range map[string]struct {
		width  int
		policy string
	}{
		"":                                 {0, ""},
		"RS-6-3-1024k":                     {9, "RS-6-3-1024k"},
		"XOR-2-1-1024k, RS-6-3-1024k":      {9, "RS-6-3-1024k"},
		"RS-LEGACY-6-3-1024k,RS-10-4-64k":  {14, "RS-10-4-64k"},
		"RS-6-3-1024k, of-my-own":          {0, "of-my-own"},
		"RS-x-3-1024k":                     {0, "RS-x-3-1024k"},
		"RS-0-3-1024k":                     {0, "RS-0-3-1024k"},
		"RS-99999999999999999999-3-1024k ": {0, "RS-99999999999999999999-3-1024k"},
	} {
		if width, policy := (jmx.ErasureCoding{Enabled: enabled}).Width(); width != want.width || policy != want.policy {
			t.Errorf("%q: %d by %q, want %d by %q", enabled, width, policy, want.width, want.policy)
		}
	}
}

func FuzzErasureCodingWidth(f *testing.F) {
	f.Add("RS-6-3-1024k, XOR-2-1-1024k")
	f.Add("----")
	f.Fuzz(func(t *testing.T, enabled string) {
		width, policy := jmx.ErasureCoding{Enabled: enabled}.Width()
		if width < 0 || width > 2*255 || width > 0 && policy == "" || !strings.Contains(enabled, policy) {
			t.Errorf("%q: %d by %q", enabled, width, policy)
		}
	})
}
