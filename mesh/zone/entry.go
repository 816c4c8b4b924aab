package zone

import (
	"net/netip"
	"strings"

	"alps/mesh"
)

// Bounds of what an entry may hold. Names are bounded by DNS itself.
const (
	MaxAddresses = 16  // of a node.
	MaxTags      = 64  // of an instance.
	maxName      = 253 // of a name of several labels, as text.
	maxLabel     = 63
	maxID        = 255 // of an instance.
	maxKey       = len("s/") + maxLabel + len("/") + maxName + len("/4095")
)

// Node is a machine and the addresses that its name stands for.
type Node struct {
	DC   string
	Name string // as Consul writes it; looked up without regard to case.
	// FQDN is what the machine itself says it is called; empty when that is
	// not known. Reverse lookups may prefer it.
	FQDN      string
	Addresses []netip.Addr // the first is the one that Consul knows.
}

// Service is all instances of a service that are to be answered. A service
// without any still has its name: the answer is then empty, and not that there
// is no such name.
type Service struct {
	DC        string
	Name      string
	Instances []Instance
}

// Instance is one instance of a service.
type Instance struct {
	Node string // name of the node that it runs on.
	ID   string // unique on its node; empty stands for the service's name.
	// Address is where to reach it. It is not valid when Host is set.
	Address netip.Addr
	// Own says that Address is the instance's own and not its node's.
	Own  bool
	Host string // a name instead of an address.
	Port uint16
	Tags []string
	// Weight says how much of the load it is to get, beside the weights of
	// the others; zero is taken for 1.
	Weight uint16
}

// Entry is one key of a zone with its encoded value. NodeEntry and
// ServiceEntries make entries; what Stage and Decode return was checked, so an
// entry that is in a Zone always decodes.
type Entry struct {
	Key, Value string
}

// NodeKey returns the key of a node.
func NodeKey(dc, name string) string {
	return "n/" + strings.ToLower(dc) + "/" + strings.ToLower(name)
}

// ServiceKey returns the key of a service, or of its first part.
func ServiceKey(dc, name string) string {
	return "s/" + strings.ToLower(dc) + "/" + strings.ToLower(name)
}

// CheckName returns mesh.Invalid when s cannot stand in a DNS name: one label
// or several with dots between them, of letters, digits, hyphens and
// underscores, at most 63 bytes each and 253 together.
func CheckName(what, s string) error {
	if isName(s) {
		return nil
	}
	return mesh.Errorf(mesh.Invalid, "%s %q cannot be a DNS name", what, s).
		WithHint("use letters, digits and hyphens, at most 63 between two dots and 253 in all")
}

// CheckLabel is CheckName for what must be a single label.
func CheckLabel(what, s string) error {
	if isLabel(s) {
		return nil
	}
	return mesh.Errorf(mesh.Invalid, "%s %q cannot be a label of a DNS name", what, s).
		WithHint("use letters, digits and hyphens, at most 63, and no dot")
}

func isLabel(s string) bool { return len(s) <= maxLabel && !strings.Contains(s, ".") && isName(s) }

func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
		if label++; label > maxLabel {
			return false
		}
	}
	return label > 0
}

// kind of a key: its first byte.
const (
	kindNode    = 'n'
	kindService = 's'
)

// splitKey takes a key apart. part is 0 for a node.
func splitKey(key string) (kind byte, dc, name string, part int, ok bool) {
	if len(key) < len("n/a/b") || len(key) > maxKey || key[1] != '/' || strings.ToLower(key) != key {
		return 0, "", "", 0, false
	}
	dc, name, ok = strings.Cut(key[2:], "/")
	if !ok || !isLabel(dc) {
		return 0, "", "", 0, false
	}
	if key[0] == kindNode {
		return kindNode, dc, name, 0, isName(name)
	}
	name, digits, more := strings.Cut(name, "/")
	if more {
		if part = partNumber(digits); part == 0 {
			return 0, "", "", 0, false
		}
	}
	return kindService, dc, name, part, key[0] == kindService && isLabel(name)
}

// partNumber reads the number of a part behind the first; 0 when it is none.
func partNumber(s string) int {
	if s == "" || len(s) > 4 || s[0] == '0' {
		return 0
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		n = 10*n + int(s[i]-'0')
	}
	if n >= maxParts {
		return 0
	}
	return n
}

// NodeEntry encodes a node; mesh.Invalid when it cannot be answered.
func NodeEntry(n Node) (Entry, error) {
	if err := CheckLabel("datacenter", n.DC); err != nil {
		return Entry{}, err
	}
	if err := CheckName("node", n.Name); err != nil {
		return Entry{}, err
	}
	if n.FQDN != "" {
		if err := CheckName("host name", n.FQDN); err != nil {
			return Entry{}, err
		}
	}
	if len(n.Addresses) > MaxAddresses {
		return Entry{}, mesh.Errorf(mesh.TooLarge, "node %q has %d addresses, at most %d are answered", n.Name, len(n.Addresses), MaxAddresses)
	}
	key := NodeKey(n.DC, n.Name)
	return Entry{Key: key, Value: string(encodeNode(n))}, checkAddrs(n.Name, n.Addresses)
}

func checkAddrs(node string, addrs []netip.Addr) error {
	for _, a := range addrs {
		if !a.IsValid() {
			return mesh.Errorf(mesh.Invalid, "node %q has an address that is none", node)
		}
	}
	return nil
}

// encodeNode writes the name only when the key, which is in lower case, does
// not say it.
func encodeNode(n Node) []byte {
	spelled := n.Name
	if strings.ToLower(spelled) == spelled {
		spelled = ""
	}
	b := appendString(nil, spelled)
	b = appendString(b, n.FQDN)
	for _, a := range n.Addresses {
		a = a.Unmap().WithZone("")
		b = append(b, byte(a.BitLen()/8))
		b = append(b, a.AsSlice()...)
	}
	return b
}

// decodeNode reads the value of a key that splitKey has taken apart.
func decodeNode(dc, name, value string) (Node, bool) {
	r := scanner{s: value}
	n := Node{DC: dc, Name: name}
	if s := r.string(maxName); s != "" {
		n.Name = s
	}
	n.FQDN = r.string(maxName)
	for r.s != "" && len(n.Addresses) < MaxAddresses {
		switch r.byte() {
		case 4:
			n.Addresses = append(n.Addresses, r.addr(false))
		case 16:
			n.Addresses = append(n.Addresses, r.addr(true))
		default:
			r.fail()
		}
	}
	ok := r.end() && strings.EqualFold(n.Name, name) && (n.FQDN == "" || isName(n.FQDN))
	return n, ok
}

// checkEntry reports whether an entry from outside may stand in a zone.
func checkEntry(e Entry) bool {
	kind, dc, name, part, ok := splitKey(e.Key)
	switch {
	case !ok || len(e.Value) > maxValue:
		return false
	case kind == kindNode:
		_, ok = decodeNode(dc, name, e.Value)
	default:
		var p partValue
		p, ok = decodePart(name, e.Value)
		ok = ok && part < p.parts
	}
	return ok
}
