package site

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOwn(t *testing.T) {
	pair := []string{
		"dfs.nameservices=ns1", "dfs.ha.namenodes.ns1=nn1,nn2",
		"dfs.namenode.rpc-address.ns1.nn1=127.0.0.1:1", "dfs.namenode.rpc-address.ns1.nn2=127.0.0.1:2",
	}
	for name, tc := range map[string]struct {
		properties []string
		want       string
		err        string
	}{
		"this machine":             {[]string{"fs.defaultFS=hdfs://127.0.0.1:9000"}, "127.0.0.1:9000", ""},
		"another machine":          {[]string{"fs.defaultFS=hdfs://192.0.2.1"}, "", ""},
		"a name that nobody knows": {[]string{"fs.defaultFS=hdfs://no-such-host.invalid"}, "", ""},
		"by its id":                {append(pair, "dfs.ha.namenode.id=nn2"), "nn2", ""},
		"without an id":            {pair, "", "want the id of this NameNode"},
		"one of two machines":      {append(pair, "dfs.namenode.rpc-address.ns1.nn2=192.0.2.1:2"), "nn1", ""},
		"no NameNode is known":     {nil, "", "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			own, err := load(t, tc.properties...).Own(t.Context())
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("Own: %v, want %q in it", err, tc.err)
				}
				return
			}
			got := ""
			if own != nil {
				got = own.Name()
			}
			if err != nil || got != tc.want {
				t.Errorf("Own: %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestNameDirs(t *testing.T) {
	got, err := load(t, "dfs.namenode.name.dir=file:///a, /b/").NameDirs()
	if diff := cmp.Diff([]string{"/a", "/b"}, got); err != nil || diff != "" {
		t.Errorf("NameDirs: %v (-want +got):\n%s", err, diff)
	}
	if _, err := load(t, "dfs.namenode.name.dir=names").NameDirs(); err == nil {
		t.Error("a directory that is not absolute was taken")
	}
}

func TestAlone(t *testing.T) {
	for services, want := range map[string]bool{"": true, "a": true, "a,b": false} {
		if err := load(t, "dfs.nameservices="+services).Alone(); (err == nil) != want {
			t.Errorf("%q: %v", services, err)
		}
	}
}
