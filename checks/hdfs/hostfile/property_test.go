package hostfile_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"alps/checks/hdfs/hostfile"
)

// TestForeignLines says of any exclude file and any operations: what is not
// ours stays byte for byte and in order, the same again changes nothing, and
// what was added comes off without a trace.
func TestForeignLines(t *testing.T) {
	line := rapid.OneOf(
		rapid.SampledFrom([]string{"", "# dn1:9866", "dn7", "dn7:9866 # spare", "\tdn8  dn9", "10.0.0.7:9866\r", "dn_bad", "dn1x:9866", "   "}),
		rapid.StringMatching(`#[ -~]{0,20}`),
		rapid.StringMatching(`[f-m]{1,8}(:[1-9][0-9]{0,3})?`),
	)
	path := filepath.Join(t.TempDir(), "exclude")
	o := hostfile.Options{Path: path, Format: hostfile.Exclude}
	rapid.Check(t, func(rt *rapid.T) {
		foreign := strings.Join(rapid.SliceOfN(line, 0, 8).Draw(rt, "lines"), "\n")
		if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
			rt.Fatal(err)
		}
		present := map[int]bool{}
		for _, n := range rapid.SliceOfN(rapid.IntRange(-3, 3), 1, 8).Draw(rt, "operations") {
			to := target(t, fmt.Sprintf("dn%d:9866", max(n, -n)))
			op := "add"
			if n < 0 {
				op = "remove"
			}
			before := content(t, path)
			c, err := do(t, o, op, to)
			if err != nil {
				rt.Fatalf("%s %s in %q: %v", op, to.Entry, before, err)
			}
			if c.Changed != (present[max(n, -n)] != (op == "add")) {
				rt.Fatalf("%s %s in %q: changed %v", op, to.Entry, before, c.Changed)
			}
			present[max(n, -n)] = op == "add"
			if again, err := do(t, o, op, to); err != nil || again.Changed {
				rt.Fatalf("again it changed %v, %v", again.Changed, err)
			}
			if got := ourless(content(t, path)); got != ourless(foreign) {
				rt.Fatalf("%s %s left %q of %q", op, to.Entry, got, foreign)
			}
		}
		for n := range present {
			if _, err := do(t, o, "remove", target(t, fmt.Sprintf("dn%d:9866", n))); err != nil {
				rt.Fatal(err)
			}
		}
		if got := content(t, path); got != foreign {
			rt.Fatalf("with all of ours gone it holds %q, want %q", got, foreign)
		}
	})
}

// ourless is a file without the lines that the operations write. The end of the
// last line is compared when all of ours are gone.
func ourless(s string) string {
	var kept []string
	for l := range strings.SplitSeq(s, "\n") {
		switch l {
		case "dn0:9866", "dn1:9866", "dn2:9866", "dn3:9866":
		default:
			kept = append(kept, l)
		}
	}
	return strings.TrimRight(strings.Join(kept, "\n"), "\n")
}

// TestForeignEntries says the same of JSON files, with or without a whitelist.
func TestForeignEntries(t *testing.T) {
	object := rapid.Custom(func(rt *rapid.T) string {
		members := []string{fmt.Sprintf(`"hostName" :"f%d"`, rapid.IntRange(1, 9).Draw(rt, "host"))}
		for _, m := range []string{`"port": 9866`, `"upgradeDomain":"r\u0031"`, `"adminState":"DECOMMISSIONED"`, `"x\"": [ {"]":"}"}, -1e3 ]`} {
			if rapid.Bool().Draw(rt, m) {
				members = append(members, m)
			}
		}
		space := rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(rt, "space")
		return "{" + space + strings.Join(members, space+","+space) + space + "}"
	})
	path := filepath.Join(t.TempDir(), "hosts.json")
	o := hostfile.Options{Path: path, Format: hostfile.JSON}
	rapid.Check(t, func(rt *rapid.T) {
		space := rapid.SampledFrom([]string{"", " ", "\n  "}).Draw(rt, "space")
		foreign := "[" + space + strings.Join(rapid.SliceOfN(object, 0, 4).Draw(rt, "objects"), ","+space) + space + "]\n"
		if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
			rt.Fatal(err)
		}
		whitelist := strings.Count(foreign, "hostName") > strings.Count(foreign, "DECOMMISSIONED")
		for _, n := range rapid.SliceOfN(rapid.IntRange(1, 4), 1, 6).Draw(rt, "operations") {
			op := []string{"", "add", "remove", "maintain", "remove"}[n]
			to := target(t, fmt.Sprintf("dn%d", n%2))
			if op == "maintain" {
				to = target(t, "dn5")
			}
			if _, err := do(t, o, op, to); err != nil {
				rt.Fatalf("%s %s in %s: %v", op, to.Entry, content(t, path), err)
			}
			if again, err := do(t, o, op, to); err != nil || again.Changed {
				rt.Fatalf("again it changed %v, %v", again.Changed, err)
			}
			now := content(t, path)
			if diff := cmp.Diff(hosts(t, foreign), hosts(t, now, "dn0", "dn1", "dn5")); diff != "" {
				rt.Fatalf("%s %s: %s", op, to.Entry, diff)
			}
			if strings.Contains(now, `"NORMAL"`) && !whitelist {
				rt.Fatalf("it has become a whitelist: %s", now)
			}
			for l := range strings.SplitSeq(strings.Trim(foreign, "[] \n"), "},") {
				if !strings.Contains(now, l) {
					rt.Fatalf("%s is not there as it was: %s", l, now)
				}
			}
		}
		for _, h := range []string{"dn0", "dn1", "dn5"} {
			if _, err := do(t, o, "remove", target(t, h)); err != nil {
				rt.Fatal(err)
			}
		}
		if got := content(t, path); !whitelist && got != foreign {
			rt.Fatalf("with all of ours gone it holds %q, want %q", got, foreign)
		}
	})
}

func FuzzExclude(f *testing.F) {
	for _, s := range []string{"", "dn1\n", "dn1 dn2 # dn3", "dn2:9866\r\n\n", "[]", "\x00", "dn1\fdn2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, hostfile.Exclude, b)
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		"", "[]", "{}", `[{"hostName":"dn1"}]`, `[{"hostName":"dn1","port":1,"adminState":"IN_MAINTENANCE","maintenanceExpireTimeInMS":5}]`,
		`[{"hostName":"dn2","x":{"y":[]}},{"hostName":"dn3"}]`, `[{"hostName":"dn2"`, "[{\"hostName\":\"a\"}]\x00", `[{"h\u006fstName":"dn2","adminState":"DECOMMISSIONED"}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, hostfile.JSON, b)
	})
}

// roundTrip adds and removes in a file of any content: it is refused and stays,
// or it can be read afterwards.
func roundTrip(t *testing.T, format hostfile.Format, b []byte) {
	t.Helper()
	to := target(t, "dn2:9866")
	o := file(t, format, string(b))
	listed, err := hostfile.Lists(b, format, to)
	c, errAdd := hostfile.Add(t.Context(), o, to)
	if errAdd != nil {
		if got := content(t, o.Path); got != string(b) {
			t.Fatalf("refused with %v, and changed to %q", errAdd, got)
		}
		return
	}
	if err != nil || c.Changed == listed {
		t.Fatalf("listed %v, %v; changed %v", listed, err, c.Changed)
	}
	if now, err := hostfile.Lists(c.After, format, to); err != nil || !now {
		t.Fatalf("it is listed: %v, %v in %q", now, err, c.After)
	}
	r, err := hostfile.Remove(t.Context(), o, to)
	if err != nil {
		t.Fatal(err)
	}
	if format == hostfile.Exclude && !listed && !bytes.Equal(r.After, b) {
		t.Fatalf("got %q, want %q", r.After, b)
	}
}
