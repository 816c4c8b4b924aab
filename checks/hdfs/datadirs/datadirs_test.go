package datadirs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alps/checks/hdfs/datadirs"
	"alps/mesh"
)

// around is a file as people write it; VALUE is what is edited.
const around = `<?xml version="1.0" encoding="UTF-8"?>
<!-- <property><name>dfs.datanode.data.dir</name><value>/no</value></property> -->
<configuration>
  <property><name>dfs.replication</name><value> 3 </value></property>
	<property>
    <name> dfs.datanode.data.dir
    </name> <!-- three of them -->
    <value>VALUE</value><final>true</final>
  </property>
  <property><name>note</name><value>a &amp; b &lt; c</value></property>
</configuration>` + "\n"

func site(t testing.TB, text string) datadirs.Options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hdfs-site.xml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return datadirs.Options{Path: path}
}

func content(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func with(value string) string { return strings.Replace(around, "VALUE", value, 1) }

func TestDropAndAdd(t *testing.T) {
	const three = "\n [DISK]file:///data/1, [SSD]file:///data/2/ ,/data/3\n"
	for name, tt := range map[string]struct {
		before  string
		drop    []string
		dropped string
		edited  string // by a person, meanwhile; empty: nobody.
		add     []string
		after   string
	}{
		"the middle one": {three, []string{"/data/2"}, "[DISK]file:///data/1,/data/3", "", []string{"/data/2"}, three},
		"one of two":     {three, []string{"/data/1", "/data/3"}, "[SSD]file:///data/2/", "", []string{"/data/3"}, "[SSD]file:///data/2/,/data/3"},
		"not there":      {three, []string{"/data/4"}, three, "", []string{"/data/1"}, three},
		"a fourth since": {three, []string{"/data/1"}, "[SSD]file:///data/2/,/data/3", "/data/4,/data/3", []string{"/data/1"}, "[DISK]file:///data/1,/data/3,/data/4"},
		"a variable":     {"${data}/1,/data/2,/data/3", []string{"/data/2"}, "${data}/1,/data/3", "", []string{"/data/2"}, "${data}/1,/data/2,/data/3"},
	} {
		t.Run(name, func(t *testing.T) {
			o := site(t, with(tt.before))
			for range 5 {
				if _, err := datadirs.Drop(t.Context(), o, tt.drop...); err != nil {
					t.Fatal(err)
				}
			}
			if got := content(t, o.Path); got != with(tt.dropped) {
				t.Fatalf("dropped: got %s", got)
			}
			if tt.edited != "" {
				if err := os.WriteFile(o.Path, []byte(with(tt.edited)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 5 {
				if _, err := datadirs.Add(t.Context(), o, tt.add...); err != nil {
					t.Fatal(err)
				}
			}
			if got := content(t, o.Path); got != with(tt.after) {
				t.Errorf("added: got %s", got)
			}
		})
	}
}

// TestKeptIsRenewed says that an old value is not taken for what was dropped.
func TestKeptIsRenewed(t *testing.T) {
	o := site(t, with("/a,/b"))
	if _, err := datadirs.Drop(t.Context(), o, "/b"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Path, []byte(with("/c,/d")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadirs.Drop(t.Context(), o, "/d"); err != nil {
		t.Fatal(err)
	}
	if _, err := datadirs.Add(t.Context(), o, "/b"); mesh.CodeOf(err) != mesh.NotFound {
		t.Errorf("got %v, want %s", err, mesh.NotFound)
	}
	if _, err := datadirs.Add(t.Context(), o, "/d"); err != nil || content(t, o.Path) != with("/c,/d") {
		t.Errorf("got %v, %s", err, content(t, o.Path))
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		code mesh.Code
		want string
	}{
		"the last one":   {with("/data/1"), mesh.Conflict, "no directory would be left"},
		"not set":        {"<configuration></configuration>", mesh.Invalid, "got it 0 times"},
		"set twice":      {with("/data/1</value></property><property><name>dfs.datanode.data.dir</name><value>/data/2"), mesh.Invalid, "got it 2 times"},
		"broken":         {with("/data/1")[:300], mesh.Invalid, "cannot be read"},
		"an attribute":   {`<configuration><property name="dfs.datanode.data.dir" value="/data/1,/data/2"/></configuration>`, mesh.Invalid, "is not written as"},
		"no value":       {"<configuration><property><name>dfs.datanode.data.dir</name></property></configuration>", mesh.Invalid, "is not written as"},
		"a comment":      {with("/data/1,<!-- ,/data/3 -->/data/2"), mesh.Invalid, "has XML in it"},
		"another letter": {with("/data/1,/d&#97;ta/2"), mesh.Invalid, "has XML in it"},
	} {
		t.Run(name, func(t *testing.T) {
			o := site(t, tt.text)
			_, err := datadirs.Drop(t.Context(), o, "/data/1")
			if mesh.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q (%s)", err, tt.want, tt.code)
			}
			if got := content(t, o.Path); got != tt.text {
				t.Errorf("the file holds %s", got)
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	o := site(t, with("/data/1,/data/2"))
	o.DryRun = true
	c, err := datadirs.Drop(t.Context(), o, "/data/1")
	entries, errDir := os.ReadDir(filepath.Dir(o.Path))
	if err != nil || errDir != nil || !c.Changed || len(entries) != 1 || content(t, o.Path) != with("/data/1,/data/2") {
		t.Errorf("got %v, %v, changed %v; %d files", err, errDir, c.Changed, len(entries))
	}
}

// FuzzDrop says that whatever the file, it is refused and stays, or a
// directory can be dropped and comes back.
func FuzzDrop(f *testing.F) {
	f.Add(with("/data/1,/data/2"))
	f.Add(with("[DISK]file:///data/1 , /data/2"))
	f.Add("<configuration/>")
	f.Add("<a><property><name>dfs.datanode.data.dir</name><value/></property></a>")
	f.Fuzz(func(t *testing.T, text string) {
		o := site(t, text)
		c, err := datadirs.Drop(t.Context(), o, "/data/1")
		if err != nil || !c.Changed {
			if got := content(t, o.Path); got != text {
				t.Fatalf("refused with %v, and changed to %q", err, got)
			}
			return
		}
		if _, err := datadirs.Add(t.Context(), o, "/data/1"); err != nil {
			t.Fatal(err)
		}
	})
}
