package procfs

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		line string
		want Process
	}{
		"parentheses and spaces in the name": {
			"12 (a) b) (c) S 1 13 14 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 77 0 0\n",
			Process{ID: ID{12, 77}, Parent: 1, Group: 13, Session: 14, State: 'S', Threads: 3, Name: "a) b) (c"},
		},
		"an open one": {
			"12 (a ) (b) S 1 12 13 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987 1 2",
			Process{ID: ID{12, 987}, Parent: 1, Group: 12, Session: 13, State: 'S', Threads: 3, Name: "a ) (b"},
		},
		"a thread of the kernel": {
			"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0",
			Process{ID: ID{2, 5}, State: 'S', Threads: 1, Kernel: true, Name: "kthreadd"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tt.line)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("process (-want +got):\n%s", diff)
			}
		})
	}
	for _, line := range []string{
		"", "12", "12 (x", "12 (x) S", "12 (x) S 1", "x (y) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", ") (",
		"x (y) S 1 12 13 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987",
	} {
		if p, err := Parse(line); err == nil {
			t.Errorf("%q: got %+v and no error", line, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(self))
	f.Add("12 (a) b) (c) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 77 0 0")
	f.Add("12 (a ) (b) S 1 12 13 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987 1 2")
	f.Add("12 (x")
	f.Add(") 1 (")
	f.Fuzz(func(t *testing.T, line string) {
		p, err := Parse(line)
		if err == nil && !strings.Contains(line, "("+p.Name+")") {
			t.Errorf("parsed the name %q of %q", p.Name, line)
		}
	})
}

// TestOurselves reads the one process that is certainly there.
func TestOurselves(t *testing.T) {
	t.Setenv("PROCFS_TEST", "") // what a process was started with does not change.
	p, err := Read(os.Getpid())
	if err != nil || p.PID != os.Getpid() || p.Start == 0 || p.Ended() || p.Kernel {
		t.Fatalf("got %+v, %v", p, err)
	}
	if now, runs := p.Running(); !runs || now.ID != p.ID {
		t.Errorf("Running = %+v, %v", now, runs)
	}
	if _, runs := (ID{p.PID, p.Start + 1}).Running(); runs {
		t.Error("another process with our number is said to run")
	}
	all, err := List(p.Start)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, q := range all {
		found = found || q.ID == p.ID
	}
	if !found {
		t.Errorf("%v is not in the list of those that began when it did", p)
	}
	path := "PATH=" + os.Getenv("PATH")
	for name, tt := range map[string]struct {
		entries []string
		want    bool
	}{
		"one that it has":    {[]string{path}, true},
		"one that it lacks":  {[]string{"NOSUCH=1"}, false},
		"one of two":         {[]string{path, "NOSUCH=1"}, false},
		"none":               {nil, false},
		"what was set later": {[]string{"PROCFS_TEST="}, false},
	} {
		if has, blank := p.HasEnv(tt.entries...); has != tt.want || blank {
			t.Errorf("%s: HasEnv = %v, blank %v; want %v", name, has, blank, tt.want)
		}
	}
}

func TestMounts(t *testing.T) {
	const text = `22 1 253:0 / / rw,relatime shared:1 - xfs /dev/mapper/root rw
23 22 8:1 / /data/a\040b rw - ext4 /dev/sda1 rw
24 22 8:1 /sub /mnt rw - ext4 /dev/sda1 rw
25 22 8:1 / /a ro,noatime - ext4 /dev/sda1 rw
26 22 0:5 / /proc rw - proc proc rw
27 nonsense
`
	got := Mounts(text, func(m Mount) bool { return strings.HasPrefix(m.Source, "/dev/") && m.Root == "/" })
	want := []Mount{
		{Device: "253:0", Root: "/", Point: "/", Options: []string{"rw", "relatime"}, Type: "xfs", Source: "/dev/mapper/root", Super: []string{"rw"}},
		{Device: "8:1", Root: "/", Point: "/a", Options: []string{"ro", "noatime"}, Type: "ext4", Source: "/dev/sda1", Super: []string{"rw"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	all := Mounts(`23 22 8:1 / /data/a\040b rw - ext4 /dev/sda1 rw`, func(Mount) bool { return true })
	if len(all) != 1 || all[0].Point != "/data/a b" {
		t.Errorf("got %+v, want the mount point with its space", all)
	}
}

func FuzzParseMount(f *testing.F) {
	f.Add(`22 1 253:0 / / rw,relatime shared:1 - xfs /dev/mapper/root rw`)
	f.Add(`1 0 8:1 / /a\040b rw - ext4 /dev/sda1 rw`)
	f.Add(`1 0 8:1 / /a\04 rw - ext4 /dev/sda1\`)
	f.Add(` - `)
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parseMount(line)
		if ok && (m.Device == "" || m.Point == "" || m.Type == "") {
			t.Errorf("parseMount(%q) = %+v has an empty field", line, m)
		}
	})
}

func TestAllMountsKeepsTheirOrder(t *testing.T) {
	const info = "1 0 8:1 / / rw - ext4 /dev/sda rw\n" +
		"2 1 8:1 /a /a\\040b rw - ext4 /dev/sda rw\n" +
		"no mount\n" +
		"3 2 8:1 /a /a\\040b ro - ext4 /dev/sda rw\n"
	var got []string
	for _, m := range AllMounts(info) {
		got = append(got, m.Point+" "+m.Options[0])
	}
	if want := []string{"/ rw", "/a b rw", "/a b ro"}; !slices.Equal(got, want) {
		t.Errorf("AllMounts = %q, want %q", got, want)
	}
}

func TestMountOf(t *testing.T) {
	const text = `22 1 253:0 / / rw - xfs /dev/root rw
23 22 8:1 / /data/1 rw - ext4 /dev/sda1 rw,errors=remount-ro,emergency_ro
24 23 8:1 /sub /data/1/sub ro - ext4 /dev/sda1 rw
25 22 0:9 / /over rw - tmpfs a rw
26 22 0:10 / /over ro - tmpfs b
`
	for path, want := range map[string]string{
		"/": "/dev/root", "/data": "/dev/root", "/data/1": "/dev/sda1", "/data/1/x": "/dev/sda1", "/data/10": "/dev/root",
		"/data/1/sub/x": "/dev/sda1", "/over": "b",
	} {
		if m, ok := MountOf(text, path); !ok || m.Source != want {
			t.Errorf("MountOf(%s) = %+v, %v, want %s", path, m, ok, want)
		}
	}
	m, _ := MountOf(text, "/data/1")
	if diff := cmp.Diff([]string{"rw", "errors=remount-ro", "emergency_ro"}, m.Super); diff != "" {
		t.Errorf("super options (-want +got):\n%s", diff)
	}
	if m, ok := MountOf("", "/"); ok {
		t.Errorf("no mounts: %+v", m)
	}
}
