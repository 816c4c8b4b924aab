package fact

import (
	"strings"

	"alps/mesh"
)

// firmware tells hypervisors by what they write into the DMI tables. The
// first row that fits wins; the words are those of systemd-detect-virt.
var firmware = []struct{ vendor, product, virtual string }{
	{"QEMU", "", "kvm"},
	{"", "KVM", "kvm"},
	{"Google", "Google Compute Engine", "kvm"},
	{"Alibaba Cloud", "", "kvm"},
	{"Tencent Cloud", "", "kvm"},
	{"Huawei Cloud", "", "kvm"},
	{"OpenStack", "", "kvm"},
	{"Red Hat", "", "kvm"},
	{"DigitalOcean", "", "kvm"},
	{"Hetzner", "vServer", "kvm"},
	{"VMware", "", "vmware"},
	{"innotek GmbH", "", "oracle"},
	{"", "VirtualBox", "oracle"},
	{"Xen", "", "xen"},
	{"Microsoft Corporation", "Virtual Machine", "microsoft"},
	{"Parallels", "", "parallels"},
	{"Bochs", "", "bochs"},
}

// readVirtual says in what the machine runs, the innermost first: a container
// on a virtual machine is a container.
func readVirtual(t tree, f *mesh.Facts) error {
	f.Virtual = t.container()
	if f.Virtual == "" {
		f.Virtual = t.hypervisor()
	}
	return nil
}

func (t tree) container() string {
	switch {
	case t.exists("run/.containerenv"):
		return "podman"
	case t.exists(".dockerenv"):
		return "docker"
	}
	if name := t.optional("run/systemd/container"); name != "" {
		return name
	}
	// Only root may read it; everybody else learns less.
	for v := range strings.SplitSeq(t.optional("proc/1/environ"), "\x00") {
		if name, ok := strings.CutPrefix(v, "container="); ok && name != "" {
			return name
		}
	}
	return ""
}

func (t tree) hypervisor() string {
	vendor, product := t.optional("sys/class/dmi/id/sys_vendor"), t.optional("sys/class/dmi/id/product_name")
	switch {
	case vendor == "Amazon EC2" && strings.Contains(product, ".metal"):
		return ""
	case vendor == "Amazon EC2":
		return "amazon"
	}
	for _, row := range firmware {
		if strings.HasPrefix(vendor, row.vendor) && strings.Contains(product, row.product) && vendor+product != "" {
			return row.virtual
		}
	}
	if t.optional("sys/hypervisor/type") == "xen" {
		return "xen"
	}
	// The processor admits that somebody is above it, without saying who.
	for line := range strings.Lines(t.optional("proc/cpuinfo")) {
		key, flags, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "flags" {
			if strings.Contains(" "+strings.TrimSpace(flags)+" ", " hypervisor ") {
				return "vm-other"
			}
			break
		}
	}
	return ""
}
