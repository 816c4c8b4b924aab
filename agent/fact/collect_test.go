package fact

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"alps/mesh"
)

// fixture is one file of testdata: a machine's files, its links, and the facts
// and errors that are expected.
type fixture struct {
	root   tree
	links  []link
	want   mesh.Facts
	errors []string
}

func load(t *testing.T, file string) fixture {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fx := fixture{root: tree(t.TempDir())}
	for _, f := range a.Files {
		switch f.Name {
		case "links":
			fx.links = parseLinks(t, string(f.Data))
		case "want":
			text := strings.ReplaceAll(string(f.Data), "<arch>", runtime.GOARCH)
			if err := json.Unmarshal([]byte(text), &fx.want); err != nil {
				t.Fatalf("%s: want: %v", file, err)
			}
		case "errors":
			fx.errors = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		default:
			path := fx.root.path(f.Name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return fx
}

func parseLinks(t *testing.T, text string) []link {
	t.Helper()
	var links []link
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		l := link{name: words[0]}
		for i, w := range words[1:] {
			if i == 0 {
				l.mac = w
				continue
			}
			l.addresses = append(l.addresses, netip.MustParsePrefix(w))
		}
		links = append(links, l)
	}
	return links
}

func TestCollectFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("fixtures: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			fx := load(t, file)
			got, err := collect(t.Context(), fx.root, fx.links)
			if diff := cmp.Diff(fx.want, got); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			var lines []string
			if err != nil {
				for line := range strings.Lines(err.Error()) {
					if strings.HasPrefix(line, "collect ") {
						lines = append(lines, strings.TrimSpace(line))
					}
				}
			}
			if len(lines) != len(fx.errors) {
				t.Fatalf("errors:\n%v\nwant %d of them", err, len(fx.errors))
			}
			for i, want := range fx.errors {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("error %q does not begin with %q", lines[i], want)
				}
			}
		})
	}
}

// TestCollectHere looks at the machine that the test runs on: the parts that
// no Linux lacks are there, and a second look sees the same.
func TestCollectHere(t *testing.T) {
	first, err := Collect(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if first.Host == "" || first.Kernel == "" || first.CPUs < 1 || first.Memory < 1<<20 || first.BootTime == 0 {
		t.Errorf("facts of this machine have holes: %+v", first)
	}
	before := cpuTime(t)
	second, err := Collect(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("one collection took %v of CPU", cpuTime(t)-before)
	second.BootTime = first.BootTime // the clock may be adjusted in between.
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two looks differ (-first +second):\n%s", diff)
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestCollectCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Collect(ctx, "/"); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
}

func TestReadDisksFollowsKernelNames(t *testing.T) {
	// On a real machine the directory of a device number is a link whose end
	// is the kernel's name: a loop device does not become a disk by being
	// mounted under an alias.
	root := tree(t.TempDir())
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(root.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root.path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("sys/devices/virtual/block/loop7/size", "8\n")
	write("sys/devices/pci0000/block/sda/sda3/size", "16\n")
	write("sys/dev/block/x", "")
	for number, end := range map[string]string{"7:7": "virtual/block/loop7", "8:3": "pci0000/block/sda/sda3"} {
		if err := os.Symlink("../../devices/"+end, root.path("sys/dev/block/"+number)); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/self/mountinfo",
		"1 0 7:7 / /image rw - ext4 /dev/disk/by-label/image rw\n2 0 8:3 / / rw - ext4 /dev/disk/by-label/root rw\n")

	var f mesh.Facts
	if err := readDisks(root, &f); err != nil {
		t.Fatal(err)
	}
	want := []mesh.Disk{{Device: "/dev/disk/by-label/root", Mount: "/", Type: "ext4", Size: 16 << 9}}
	if diff := cmp.Diff(want, f.Disks); diff != "" {
		t.Errorf("disks (-want +got):\n%s", diff)
	}
}

func TestHypervisor(t *testing.T) {
	tests := map[string]struct{ vendor, product, want string }{
		"bare metal":          {"Dell Inc.", "PowerEdge R740xd", ""},
		"no firmware tables":  {"", "", ""},
		"qemu":                {"QEMU", "Standard PC", "kvm"},
		"red hat's kvm":       {"oVirt", "KVM Server", "kvm"},
		"amazon guest":        {"Amazon EC2", "m7i.large", "amazon"},
		"amazon metal":        {"Amazon EC2", "m7i.metal-24xl", ""},
		"alibaba":             {"Alibaba Cloud", "Alibaba Cloud ECS", "kvm"},
		"google":              {"Google", "Google Compute Engine", "kvm"},
		"vmware":              {"VMware, Inc.", "VMware7,1", "vmware"},
		"virtualbox":          {"innotek GmbH", "VirtualBox", "oracle"},
		"hyper-v":             {"Microsoft Corporation", "Virtual Machine", "microsoft"},
		"a microsoft machine": {"Microsoft Corporation", "Surface", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := tree(t.TempDir())
			dir := root.path("sys/class/dmi/id")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"sys_vendor": tt.vendor, "product_name": tt.product} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := root.hypervisor(); got != tt.want {
				t.Errorf("hypervisor() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNoise(t *testing.T) {
	tests := map[string]bool{
		"eth0": false, "eno1": false, "bond0": false, "bond0.100": false, "br0": false, "wg0": false, "team0": false,
		"veth12ab": true, "docker0": true, "br-0123456789ab": true, "cali0f": true, "virbr0": true, "kube-ipvs0": true,
	}
	for name, want := range tests {
		if got := isNoise(name); got != want {
			t.Errorf("isNoise(%q) = %v, want %v", name, got, want)
		}
	}
}

func FuzzAssignments(f *testing.F) {
	f.Add("ID=\"debian\"\nVERSION_ID='12'\n# x=y\n")
	f.Add("A=\"\\\"\"")
	f.Add("=\n\"=\"")
	f.Fuzz(func(t *testing.T, text string) {
		if got := assignments(text); len(got) > strings.Count(text, "\n")+1 {
			t.Errorf("assignments(%q) has %d keys", text, len(got))
		}
	})
}

func FuzzTemporaryAddresses(f *testing.F) {
	f.Add("fd00000000000000 04 40 00 01 eth0")
	f.Add("fd000000000000009c4a2f00aabb1122 04 40 00 01 bond0")
	f.Fuzz(func(t *testing.T, text string) {
		root := tree(t.TempDir())
		if err := os.MkdirAll(root.path("proc/net"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root.path("proc/net/if_inet6"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		for a := range root.temporaryAddresses() {
			if !a.Is6() {
				t.Errorf("%v is no IPv6 address", a)
			}
		}
	})
}

func BenchmarkCollect(b *testing.B) {
	for b.Loop() {
		if _, err := Collect(b.Context(), "/"); err != nil {
			b.Fatal(err)
		}
	}
}
