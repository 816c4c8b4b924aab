package hostfile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"alps/checks/hdfs/edit"
	"alps/checks/hdfs/hostfile"
	"alps/mesh"
)

func entry(t testing.TB, s string) hostfile.Entry {
	t.Helper()
	e, err := hostfile.ParseEntry(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func target(t testing.TB, s string, also ...string) hostfile.Target {
	t.Helper()
	out := hostfile.Target{Entry: entry(t, s)}
	for _, a := range also {
		out.Also = append(out.Also, entry(t, a))
	}
	return out
}

// file returns options for a file with this content.
func file(t testing.TB, format hostfile.Format, content string) hostfile.Options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return hostfile.Options{Path: path, Format: format}
}

func content(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// do applies "add", "remove" or "maintain".
func do(t testing.TB, o hostfile.Options, op string, to hostfile.Target) (edit.Change, error) {
	t.Helper()
	switch op {
	case "add":
		return hostfile.Add(t.Context(), o, to)
	case "remove":
		return hostfile.Remove(t.Context(), o, to)
	default:
		return hostfile.Maintain(t.Context(), o, to, time.Now().Add(2*time.Hour))
	}
}

func TestParseEntry(t *testing.T) {
	for in, want := range map[string]string{
		"dn2": "dn2", "dn2:9866": "dn2:9866", "10.0.0.2:9866": "10.0.0.2:9866", "bj-e-hadoop01.example.com": "bj-e-hadoop01.example.com",
		"": "", "dn_2": "", "dn2:": "", "dn2:0": "", "dn2:65536": "", "dn2:+1": "", "dn2:09866": "", "10.0.0.300": "", "10.0.0": "", "::1": "",
		"[::1]:9866": "", "dn2 dn3": "", "dn2\ndn3": "", "#dn2": "", "-dn2": "", "dn2.": "", "*": "", strings.Repeat("a", 64): "",
	} {
		t.Run(in, func(t *testing.T) {
			got, err := hostfile.ParseEntry(in)
			if want == "" && mesh.CodeOf(err) != mesh.Invalid || want != "" && (err != nil || got.String() != want) {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

func TestExclude(t *testing.T) {
	dn2 := target(t, "dn2:9866", "10.0.0.2:9866", "dn2")
	for name, tt := range map[string]struct {
		op, before, after string
	}{
		"an empty file":          {"add", "", "dn2:9866\n"},
		"behind others":          {"add", "# ours\ndn1\n", "# ours\ndn1\ndn2:9866\n"},
		"no end of the line":     {"add", "dn1", "dn1\ndn2:9866"},
		"it is there":            {"add", "dn1\ndn2:9866\n", "dn1\ndn2:9866\n"},
		"it is there by address": {"add", "10.0.0.2:9866\n", "10.0.0.2:9866\n"},
		"in other letters":       {"add", "DN2:9866\n", "DN2:9866\n"},
		"in a line of several":   {"add", "dn1 dn2:9866\tdn3\n", "dn1 dn2:9866\tdn3\n"},
		"in a comment only":      {"add", "dn1 # dn2:9866\n", "dn1 # dn2:9866\ndn2:9866\n"},
		"another port":           {"add", "dn2:9867\n", "dn2:9867\ndn2:9866\n"},
		"a longer name":          {"add", "dn22:9866\n", "dn22:9866\ndn2:9866\n"},
		"words that are none":    {"add", "dn_1 ::1\r\n", "dn_1 ::1\r\ndn2:9866\n"},
		"removed":                {"remove", "dn1\n# ours\ndn2:9866\ndn3\n", "dn1\n# ours\ndn3\n"},
		"every spelling":         {"remove", "dn2\ndn2:9866\n10.0.0.2:9866 # liu\n\tdn3\n", "\tdn3\n"},
		"the last line":          {"remove", "dn1\ndn2", "dn1"},
		"out of a line":          {"remove", "dn1  dn2:9866 dn3 # dn2:9866\n", "dn1 dn3 # dn2:9866\n"},
		"it is not there":        {"remove", "dn1 # dn2\r\n\r\n", "dn1 # dn2\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			o := file(t, hostfile.Exclude, tt.before)
			for range 5 {
				if _, err := do(t, o, tt.op, dn2); err != nil {
					t.Fatal(err)
				}
				if got := content(t, o.Path); got != tt.after {
					t.Fatalf("got %q, want %q", got, tt.after)
				}
			}
		})
	}
}

func TestJSON(t *testing.T) {
	dn2 := target(t, "dn2:9866", "dn2")
	const foreign = `{ "hostName":"dn1","upgradeDomain" : "r1", "note": [1, {"a":"\"}"}] }`
	for name, tt := range map[string]struct {
		op, before, after string
	}{
		"an empty list":             {"add", "[]\n", `[{"hostName": "dn2", "port": 9866, "adminState": "DECOMMISSIONED"}]` + "\n"},
		"in a whitelist":            {"add", "[\n  " + foreign + "\n]", "[\n  " + foreign + ",\n  " + `{"hostName": "dn2", "port": 9866, "adminState": "DECOMMISSIONED"}` + "\n]"},
		"a NORMAL one":              {"add", "[" + foreign + `, {"hostName":"dn2","adminState":"NORMAL","upgradeDomain":"r2"}]`, "[" + foreign + `, {"hostName":"dn2","adminState":"DECOMMISSIONED","upgradeDomain":"r2"}]`},
		"one without a state":       {"add", "[" + foreign + `,{"hostName":"dn2"}]`, "[" + foreign + `,{"hostName":"dn2", "adminState": "DECOMMISSIONED"}]`},
		"from maintenance":          {"add", `[{"maintenanceExpireTimeInMS":7,"hostName":"dn2","adminState":"IN_MAINTENANCE"}]`, `[{"hostName":"dn2","adminState":"DECOMMISSIONED"}]`},
		"it leaves already":         {"add", `[{"hostName":"dn2","adminState":"DECOMMISSIONED","port":0}]`, `[{"hostName":"dn2","adminState":"DECOMMISSIONED","port":0}]`},
		"removed without whitelist": {"remove", `[{"hostName":"dn3","adminState":"DECOMMISSIONED"}, {"hostName":"dn2","adminState":"DECOMMISSIONED"} ]`, `[{"hostName":"dn3","adminState":"DECOMMISSIONED"} ]`},
		"the first removed":         {"remove", `[ {"hostName":"dn2","adminState":"DECOMMISSIONED"}, {"hostName":"dn3","adminState":"DECOMMISSIONED"}]`, `[ {"hostName":"dn3","adminState":"DECOMMISSIONED"}]`},
		"the only one removed":      {"remove", `[ {"hostName":"dn2","adminState":"DECOMMISSIONED"} ]`, `[  ]`},
		"NORMAL in a whitelist":     {"remove", "[" + foreign + `,{"hostName":"dn2","adminState":"IN_MAINTENANCE","maintenanceExpireTimeInMS":9}]`, "[" + foreign + `,{"hostName":"dn2","adminState":"NORMAL"}]`},
		"two spellings":             {"remove", `[{"hostName":"dn2","adminState":"DECOMMISSIONED"},{"hostName":"DN2","port":9866,"adminState":"IN_MAINTENANCE"}]`, `[]`},
		"it works already":          {"remove", `[{"hostName":"dn2"},{"hostName":"dn3"}]`, `[{"hostName":"dn2"},{"hostName":"dn3"}]`},
		"maintained for long":       {"maintain", `[{"hostName":"dn2","adminState":"IN_MAINTENANCE","maintenanceExpireTimeInMS":99999999999999}]`, `[{"hostName":"dn2","adminState":"IN_MAINTENANCE","maintenanceExpireTimeInMS":99999999999999}]`},
	} {
		t.Run(name, func(t *testing.T) {
			o := file(t, hostfile.JSON, tt.before)
			for range 5 {
				if _, err := do(t, o, tt.op, dn2); err != nil {
					t.Fatal(err)
				}
				if got := content(t, o.Path); got != tt.after {
					t.Fatalf("got  %s\nwant %s", got, tt.after)
				}
			}
		})
	}
}

// TestMaintain says that the end is absolute, in milliseconds, and stays when
// the same is asked again.
func TestMaintain(t *testing.T) {
	o := file(t, hostfile.JSON, `[{"hostName":"dn2","adminState":"IN_MAINTENANCE","maintenanceExpireTimeInMS":7,"upgradeDomain":"r2"}]`)
	until := time.Now().Add(2 * time.Hour)
	if _, err := hostfile.Maintain(t.Context(), o, target(t, "dn2"), until); err != nil {
		t.Fatal(err)
	}
	first := content(t, o.Path)
	var got []map[string]any
	if err := json.Unmarshal([]byte(first), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{"hostName": "dn2", "adminState": "IN_MAINTENANCE", "maintenanceExpireTimeInMS": float64(until.UnixMilli()), "upgradeDomain": "r2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c, err := hostfile.Maintain(t.Context(), o, target(t, "dn2"), until.Add(time.Minute)); err != nil || c.Changed {
		t.Errorf("asked again it changed %v, %v", c.Changed, err)
	}
	if c, err := hostfile.Maintain(t.Context(), o, target(t, "dn2"), until.Add(time.Hour)); err != nil || !c.Changed {
		t.Errorf("asked for longer it changed %v, %v", c.Changed, err)
	}
}

// TestRefused says what is never written to.
func TestRefused(t *testing.T) {
	type result struct {
		Code mesh.Code
		Text string
	}
	for name, tt := range map[string]struct {
		op      string
		format  hostfile.Format
		content string
		want    result
	}{
		"truncated JSON":         {"add", hostfile.JSON, `[{"hostName":"dn1"`, result{mesh.Invalid, "ends too early"}},
		"an empty JSON file":     {"add", hostfile.JSON, "", result{mesh.Invalid, "a list without hosts is []"}},
		"blanks":                 {"add", hostfile.JSON, " \n", result{mesh.Invalid, "a list without hosts is []"}},
		"an object":              {"add", hostfile.JSON, `{}`, result{mesh.Invalid, "want a list of objects"}},
		"an unknown state":       {"add", hostfile.JSON, `[{"hostName":"dn1","adminState":"normal"}]`, result{mesh.Invalid, `no state of Hadoop is called "normal"`}},
		"no name":                {"add", hostfile.JSON, `[{"port":1}]`, result{mesh.Invalid, "entry 1 has no hostName"}},
		"a key twice":            {"add", hostfile.JSON, `[{"hostName":"dn1","hostName":"dn2"}]`, result{mesh.Invalid, `has "hostName" twice`}},
		"text behind":            {"remove", hostfile.JSON, `[] []`, result{mesh.Invalid, "behind the end"}},
		"a port of text":         {"add", hostfile.JSON, `[{"hostName":"dn1","port":"9866"}]`, result{mesh.Invalid, "port: "}},
		"two values":             {"add", hostfile.JSON, `[{"hostName":"dn1"} {"hostName":"dn2"}]`, result{mesh.Invalid, "read the JSON host file, byte "}},
		"the last NORMAL":        {"add", hostfile.JSON, `[{"hostName":"dn2"},{"hostName":"dn1","adminState":"DECOMMISSIONED"}]`, result{mesh.Conflict, "dn2 is the last one that is NORMAL"}},
		"it leaves for good":     {"maintain", hostfile.JSON, `[{"hostName":"dn2","adminState":"DECOMMISSIONED"}]`, result{mesh.Conflict, "to leave for good"}},
		"maintenance by exclude": {"maintain", hostfile.Exclude, "", result{mesh.Invalid, "knows no maintenance"}},
		"JSON as exclude":        {"add", hostfile.Exclude, " \n[]", result{mesh.Invalid, "not a list of hosts"}},
		"zeros":                  {"add", hostfile.Exclude, "dn1\n\x00\x00", result{mesh.Invalid, "line 2 has characters"}},
		"not text":               {"remove", hostfile.Exclude, "\xff", result{mesh.Invalid, "it is not text"}},
		"no kind":                {"add", "", "", result{mesh.Invalid, "no kind of host file"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := file(t, tt.format, tt.content)
			_, err := do(t, o, tt.op, target(t, "dn2"))
			if err == nil || mesh.CodeOf(err) != tt.want.Code || !strings.Contains(err.Error(), tt.want.Text) {
				t.Errorf("got %v (%s), want %q (%s)", err, mesh.CodeOf(err), tt.want.Text, tt.want.Code)
			}
			if got := content(t, o.Path); got != tt.content {
				t.Errorf("the file holds %q now", got)
			}
		})
	}
	t.Run("an end in the past", func(t *testing.T) {
		o := file(t, hostfile.JSON, "[]")
		if _, err := hostfile.Maintain(t.Context(), o, target(t, "dn2"), time.Now()); mesh.CodeOf(err) != mesh.Invalid {
			t.Error(err)
		}
	})
	t.Run("XML", func(t *testing.T) {
		if _, err := hostfile.Add(t.Context(), hostfile.Options{Path: "/nowhere/hosts.XML", Format: hostfile.Exclude}, target(t, "dn2")); mesh.CodeOf(err) != mesh.Invalid {
			t.Error(err)
		}
	})
}

func TestMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	for name, tt := range map[string]struct {
		op   string
		o    hostfile.Options
		want mesh.Code
	}{
		"not asked to":        {"add", hostfile.Options{Path: path, Format: hostfile.Exclude}, mesh.NotFound},
		"nothing to remove":   {"remove", hostfile.Options{Path: path, Format: hostfile.Exclude, Create: true}, mesh.NotFound},
		"JSON is never made":  {"add", hostfile.Options{Path: path, Format: hostfile.JSON, Create: true}, mesh.NotFound},
		"not in a dry run":    {"add", hostfile.Options{Path: path, Format: hostfile.Exclude, Create: true, DryRun: true}, ""},
		"no directory either": {"add", hostfile.Options{Path: path + "/none", Format: hostfile.Exclude, Create: true}, mesh.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := do(t, tt.o, tt.op, target(t, "dn2")); mesh.CodeOf(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("the file is there: %v", err)
			}
		})
	}
	if _, err := do(t, hostfile.Options{Path: path, Format: hostfile.Exclude, Create: true}, "add", target(t, "dn2")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "dn2\n" {
		t.Errorf("got %q", got)
	}
}

func TestLists(t *testing.T) {
	for name, tt := range map[string]struct {
		format  hostfile.Format
		content string
		want    bool
	}{
		"excluded":       {hostfile.Exclude, "dn1\ndn2\n", true},
		"not excluded":   {hostfile.Exclude, "dn1 # dn2\n", false},
		"decommissioned": {hostfile.JSON, `[{"hostName":"dn2","adminState":"DECOMMISSIONED"}]`, true},
		"normal":         {hostfile.JSON, `[{"hostName":"dn2"}]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := hostfile.Lists([]byte(tt.content), tt.format, target(t, "dn2"))
			if err != nil || got != tt.want {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	got, err := hostfile.Unknown([]byte(`[{"hostName":"dn1","note":1},{"hostname":"x","hostName":"dn2","note":2,"port":1,"upgradeDomain":"r","adminState":"NORMAL","maintenanceExpireTimeInMS":1}]`))
	if diff := cmp.Diff([]string{"note", "hostname"}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := hostfile.Unknown([]byte("")); mesh.CodeOf(err) != mesh.Invalid {
		t.Errorf("got %v, want %s", err, mesh.Invalid)
	}
}

// hosts are the entries of a JSON file as another reader sees them, those of
// the given host left out.
func hosts(t testing.TB, text string, without ...string) []map[string]any {
	t.Helper()
	var all []map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return slices.DeleteFunc(all, func(m map[string]any) bool {
		name, _ := m["hostName"].(string)
		return slices.ContainsFunc(without, func(w string) bool { return strings.EqualFold(w, name) })
	})
}
