package webhdfstest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/webhdfs"
)

// Target is an HDFS with two NameNodes, in which nobody but Owner may write.
type Target struct {
	DataNode        string // by HTTP.
	Active, Standby Address
	// Below lists the files in a directory, by their paths, sorted.
	Below func(dir string) []string
}

// Address is that of a NameNode.
type Address struct{ RPC, HTTP string }

// Suite holds an HDFS to what a Client relies upon.
func Suite(t *testing.T, to Target) {
	by := func(user string) *webhdfs.Client {
		return webhdfs.New(webhdfs.Options{User: user, Timeout: time.Minute})
	}
	file := func(path string) webhdfs.File {
		return webhdfs.File{Path: path, NameNode: to.Active.RPC, Copies: 1, Content: []byte("x\n")}
	}
	t.Run("files come and go", func(t *testing.T) {
		const dir = "/new/dir"
		var want []string
		for i := range 3 {
			f := file(dir + "/" + strconv.Itoa(i))
			want = append(want, f.Path)
			if err := by(Owner).Create(t.Context(), to.DataNode, f); err != nil {
				t.Fatal(err)
			}
		}
		if got := to.Below(dir); !slices.Equal(got, want) {
			t.Errorf("there are %q, want %q", got, want)
		}
		for range 2 { // the second time there is nothing to remove.
			if err := by(Owner).Remove(t.Context(), to.Active.HTTP, dir); err != nil {
				t.Error(err)
			}
			if got := to.Below(dir); len(got) != 0 {
				t.Errorf("there are still %q", got)
			}
		}
	})
	if err := by(Owner).Create(t.Context(), to.DataNode, file("/there")); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*webhdfs.File)) webhdfs.File {
		f := file("/other")
		change(&f)
		return f
	}
	for name, tc := range map[string]struct {
		user string
		file webhdfs.File
		want string
	}{
		"it is there":         {Owner, file("/there"), "FileAlreadyExistsException"},
		"below a file":        {Owner, file("/there/too"), "ParentNotDirectoryException"},
		"somebody else":       {"alice", file("/hers"), "AccessControlException"},
		"no name of a user":   {"a b", file("/other"), "IllegalArgumentException"},
		"not a single copy":   {Owner, with(func(f *webhdfs.File) { f.Copies = 0 }), "IllegalArgumentException"},
		"by way of a standby": {Owner, with(func(f *webhdfs.File) { f.NameNode = to.Standby.RPC }), "StandbyException"},
	} {
		t.Run("no write: "+name, func(t *testing.T) {
			refused(t, by(tc.user).Create(t.Context(), to.DataNode, tc.file), tc.want)
		})
	}
	t.Run("no removal: somebody else", func(t *testing.T) {
		refused(t, by("alice").Remove(t.Context(), to.Active.HTTP, "/there"), "AccessControlException")
	})
	t.Run("no removal: of a standby", func(t *testing.T) {
		refused(t, by(Owner).Remove(t.Context(), to.Standby.HTTP, "/there"), "StandbyException")
	})
	if got := to.Below(""); !slices.Equal(got, []string{"/there"}) {
		t.Errorf("there are %q, want what was written alone", got)
	}
	if err := by(Owner).Remove(t.Context(), to.Active.HTTP, "/there"); err != nil {
		t.Error(err)
	}
}

// refused wants an error that says which exception it was, in one line, and that
// no disk has to do with it.
func refused(t *testing.T, err error, exception string) {
	t.Helper()
	e, ok := errors.AsType[*webhdfs.Error](err)
	if !ok || e.Kind != webhdfs.Refused || e.Exception != exception || e.Tried || strings.Contains(e.Text, "\n") || !strings.HasPrefix(e.Text, exception+": ") {
		t.Errorf("got %#v, want that it is refused because of %s", err, exception)
	}
	if jmx.KindOf(err) != "" {
		t.Errorf("%v is taken for an error of JMX", err)
	}
}
