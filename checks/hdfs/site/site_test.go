package site

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

// xmlOf is a file with these properties, one "name=value" each.
func xmlOf(properties ...string) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<configuration>\n")
	for _, p := range properties {
		name, value, _ := strings.Cut(p, "=")
		b.WriteString("<property><name> " + name + "</name><value>" + value + "\n</value><final>true</final></property>\n")
	}
	return b.String() + "</configuration>\n"
}

func load(t *testing.T, properties ...string) *Site {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "hdfs-site.xml", xmlOf(properties...))
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "core-site.xml", xmlOf("fs.defaultFS=hdfs://nn1:9000", "a=core", "b=core"))
	write(t, dir, "hdfs-site.xml", `<!-- ours --><configuration xmlns:x="y">
		<property><name>a</name><value>hdfs &amp; more</value><description><b>x</b></description></property>
		<property name="c" value="attribute"/>
		<property><name>empty</name><value/></property>
		<property><name>no value</name></property>
		<other><property><name>d</name><value>not ours</value></property></other>
	</configuration>`)
	for name, conf := range map[string]string{"by argument": dir, "by the environment": ""} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(EnvDir, dir)
			s, err := Load(conf)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, k := range []string{"fs.defaultFS", "a", "b", "c", "d", "empty", "none"} {
				got[k] = s.Get(k)
			}
			want := map[string]string{
				"fs.defaultFS": "hdfs://nn1:9000", "a": "hdfs & more", "b": "core", "c": "attribute",
				"d": "", "empty": "", "none": "",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want string
	}{
		"half a file":     {"<configuration><property><name>a</name>", "unexpected EOF"},
		"nothing":         {"", "no <configuration>"},
		"a web page":      {"<html></html>", "begins with <html>"},
		"no XML":          {"dfs.replication = 3", "no <configuration>"},
		"an include":      {`<configuration><xi:include href="x.xml"/></configuration>`, "includes another file"},
		"a huge one":      {xmlOf("a=" + strings.Repeat("x", maxFile)), "larger than 4 MiB"},
		"an unknown name": {"<configuration><property><name>a</name><value>&evil;</value></property></configuration>", "evil"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "hdfs-site.xml", tc.text)
			_, err := Load(dir)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "hdfs-site.xml") {
				t.Errorf("Load: %v, want %q and the file in it", err, tc.want)
			}
			if mesh.CodeOf(err) != mesh.Invalid {
				t.Errorf("its code is %s", mesh.CodeOf(err))
			}
		})
	}
	_, err := Load(filepath.Join(t.TempDir(), "none"))
	if mesh.CodeOf(err) != mesh.NotFound || !strings.Contains(err.Error(), "none/hdfs-site.xml") {
		t.Errorf("no directory: %v", err)
	}
}

func TestGetReplacesNames(t *testing.T) {
	s := load(t, "dir=/data", "a=${dir}/a", "b=${a}/${a}", "c=${user.name}-${dir}", "d=${dir", "loop=x${loop}", "e=${f}", "f=${e}")
	for key, want := range map[string]string{
		"a": "/data/a", "b": "/data/a//data/a", "c": "${user.name}-/data", "d": "${dir",
		"e": "${f}", "loop": strings.Repeat("x", maxDepth+1) + "${loop}",
	} {
		if got := s.Get(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestNameNodes(t *testing.T) {
	ha := []string{
		"dfs.nameservices=ns1", "dfs.ha.namenodes.ns1=nn1, nn2",
		"dfs.namenode.rpc-address.ns1.nn1=a:8021", "dfs.namenode.rpc-address.ns1.nn2=b",
		"dfs.namenode.http-address.ns1.nn1=0.0.0.0:50070",
	}
	for name, tc := range map[string]struct {
		properties []string
		want       []NameNode
		err        string
	}{
		"the default file system":      {[]string{"fs.defaultFS=hdfs://nn:9000/"}, []NameNode{{RPC: "nn:9000", HTTP: "nn:9870"}}, ""},
		"without a port":               {[]string{"fs.defaultFS=hdfs://nn"}, []NameNode{{RPC: "nn:8020", HTTP: "nn:9870"}}, ""},
		"an RPC address":               {[]string{"fs.defaultFS=hdfs://x", "dfs.namenode.rpc-address=nn:1", "dfs.namenode.http-address=web:2"}, []NameNode{{RPC: "nn:1", HTTP: "web:2"}}, ""},
		"two of a nameservice":         {ha, []NameNode{{"ns1", "nn1", "a:8021", "a:50070"}, {"ns1", "nn2", "b:8020", "b:9870"}}, ""},
		"a nameservice with one":       {[]string{"dfs.nameservices=ns1", "dfs.namenode.rpc-address.ns1=a:1"}, []NameNode{{Service: "ns1", RPC: "a:1", HTTP: "a:9870"}}, ""},
		"ours among others":            {append(ha, "dfs.nameservices=ns1,far", "dfs.internal.nameservices=ns1"), []NameNode{{"ns1", "nn1", "a:8021", "a:50070"}, {"ns1", "nn2", "b:8020", "b:9870"}}, ""},
		"one of them has no address":   {append(ha, "dfs.ha.namenodes.ns1=nn1,nn3"), nil, "dfs.namenode.rpc-address.ns1.nn3"},
		"nothing":                      {nil, nil, "neither dfs.namenode.rpc-address nor"},
		"another file system":          {[]string{"fs.defaultFS=file:///"}, nil, "neither"},
		"a port that is none":          {[]string{"dfs.namenode.rpc-address=nn:99999"}, nil, "want a port"},
		"a name that stands for none":  {[]string{"dfs.namenode.rpc-address=${host}:1"}, nil, "want host:port"},
		"an address that is a command": {[]string{"dfs.namenode.rpc-address=nn/../:1"}, nil, "want host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, tc.properties...).NameNodes()
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("NameNodes: %v, want %q in it", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("NameNodes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDataDirs(t *testing.T) {
	for name, tc := range map[string]struct {
		value string
		want  []DataDir
		err   string
	}{
		"none":                 {"", nil, ""},
		"all ways to write":    {"[DISK]file:///a, [ssd]/b/ ,file:/c%20d,/e,[]/f", []DataDir{{"DISK", "/a"}, {"SSD", "/b"}, {"DISK", "/c d"}, {"DISK", "/e"}, {"DISK", "/f"}}, ""},
		"twice the same":       {"/a,file:///a/", []DataDir{{"DISK", "/a"}}, ""},
		"of another store":     {"[PROVIDED]s3a://x/y,/a", []DataDir{{"DISK", "/a"}}, ""},
		"not absolute":         {"data", nil, "want an absolute path"},
		"not closed":           {"[DISK/a", nil, "want [DISK]"},
		"on another machine":   {"file://host/a", nil, "want an absolute path"},
		"a name of no meaning": {"/a/${user.name}", nil, "want an absolute path"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, "dfs.datanode.data.dir="+tc.value).DataDirs()
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("DataDirs: %v, want %q in it", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("DataDirs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDataNode(t *testing.T) {
	got, err := load(t, "dfs.datanode.hostname=dn1", "dfs.datanode.http.address=127.0.0.1:19641").DataNode()
	want := DataNode{"dn1", "0.0.0.0:9866", "127.0.0.1:19641", "0.0.0.0:9867"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("DataNode: %v (-want +got):\n%s", err, diff)
	}
	for address, want := range map[string]string{"0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", "dn1:1": "dn1:1", "x": "x"} {
		if got := Dial(address); got != want {
			t.Errorf("Dial(%q) = %q, want %q", address, got, want)
		}
	}
	if _, err := load(t, "dfs.datanode.ipc.address=a:b").DataNode(); err == nil || !strings.Contains(err.Error(), "dfs.datanode.ipc.address") {
		t.Errorf("a bad port: %v", err)
	}
}

func TestNumbers(t *testing.T) {
	tolerated := (*Site).FailedVolumesTolerated
	replication := (*Site).Replication
	for name, tc := range map[string]struct {
		property string
		read     func(*Site) (int, error)
		want     int
		bad      bool
	}{
		"tolerated by default":     {"x=1", tolerated, 0, false},
		"tolerated":                {"dfs.datanode.failed.volumes.tolerated=2", tolerated, 2, false},
		"all but one":              {"dfs.datanode.failed.volumes.tolerated=-1", tolerated, -1, false},
		"less than that":           {"dfs.datanode.failed.volumes.tolerated=-2", tolerated, 0, true},
		"replication by default":   {"x=1", replication, 3, false},
		"replication":              {"dfs.replication=2", replication, 2, false},
		"replication in words":     {"dfs.replication=two", replication, 0, true},
		"no replication":           {"dfs.replication=0", replication, 0, true},
		"more than there can be":   {"dfs.replication=9999999", replication, 0, true},
		"a number out of its type": {"dfs.replication=99999999999999999999", replication, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.read(load(t, tc.property))
			if got != tc.want || (err != nil) != tc.bad {
				t.Errorf("got %d, %v, want %d", got, err, tc.want)
			}
		})
	}
}

func TestHostFiles(t *testing.T) {
	const class = "dfs.namenode.hosts.provider.classname=org.apache.hadoop.hdfs.server.blockmanagement."
	for name, tc := range map[string]struct {
		properties []string
		combined   bool
		bad        bool
	}{
		"two files":       {nil, false, false},
		"by name":         {[]string{class + "HostFileManager"}, false, false},
		"one file":        {[]string{class + "CombinedHostFileManager"}, true, false},
		"somebody else's": {[]string{class + "MyOwn"}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, append(tc.properties, "dfs.hosts=/i", "dfs.hosts.exclude=/e")...).HostFiles()
			if got.Combined != tc.combined || (err != nil) != tc.bad || got.Include != "/i" || got.Exclude != "/e" {
				t.Errorf("HostFiles: %+v, %v", got, err)
			}
		})
	}
}

// FuzzParse: whatever a file holds, nothing panics or grows without an end, and
// what is read of it has a meaning.
func FuzzParse(f *testing.F) {
	f.Add(xmlOf("dfs.nameservices=a", "dfs.ha.namenodes.a=b,c", "dfs.namenode.rpc-address.a.b=${x}:1", "x=${x}${x}"))
	f.Add(xmlOf("dfs.datanode.data.dir=[DISK]file:///a,[", "fs.defaultFS=hdfs://h:1"))
	f.Add(`<configuration><property name="a" value="${b}"/>`)
	f.Add(`<!DOCTYPE x [<!ENTITY a "b">]><configuration>&a;</configuration>`)
	f.Fuzz(func(t *testing.T, text string) {
		s := &Site{Dir: "d", values: make(map[string]string)}
		if parse(text, s.values) != nil {
			return
		}
		for key := range s.values {
			if v := s.Get(key); len(v) > maxValue+len(text) {
				t.Errorf("%s has grown to %d bytes", key, len(v))
			}
		}
		nns, err := s.NameNodes()
		if err == nil && len(nns) == 0 {
			t.Error("no NameNodes and no error")
		}
		dirs, err := s.DataDirs()
		for _, d := range dirs {
			if err == nil && (!strings.HasPrefix(d.Path, "/") || d.Type == "") {
				t.Errorf("data dir %+v", d)
			}
		}
	})
}

func TestReadable(t *testing.T) {
	for policy, want := range map[string]bool{"": true, "HTTP_ONLY": true, "HTTP_AND_HTTPS": true, "HTTPS_ONLY": false} {
		if err := load(t, "dfs.http.policy="+policy).Readable(); (err == nil) != want {
			t.Errorf("%q: %v", policy, err)
		}
	}
}
