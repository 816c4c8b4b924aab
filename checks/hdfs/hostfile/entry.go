package hostfile

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"alps/mesh"
)

// Entry names DataNodes as a host file does: those of a host, or the one that
// has the port for transfers.
type Entry struct {
	Host string // a name or an IPv4 address.
	Port int    // zero: every DataNode of the host.
}

// Target is one DataNode in the spellings that a file may have for it.
type Target struct {
	// Entry is how it is written when the file does not have it.
	Entry Entry
	// Also are other entries that mean this DataNode and no other one.
	Also []Entry
}

// ParseEntry reads host or host:port.
func ParseEntry(s string) (Entry, error) {
	host, port, found := strings.Cut(s, ":")
	e := Entry{Host: host}
	if !validHost(host) {
		return Entry{}, mesh.Errorf(mesh.Invalid, "read the DataNode %q: want a host name or an IPv4 address, as dn2 or dn2:9866", s)
	}
	if found {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
			return Entry{}, mesh.Errorf(mesh.Invalid, "read the DataNode %q: want a port between 1 and 65535, got %q", s, port)
		}
		e.Port = int(n)
	}
	return e, nil
}

// label is a part of a host name. Java takes no underscore in a name with a
// port, so Hadoop would not resolve one.
var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func validHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if !label.MatchString(l) {
			return false
		}
	}
	// What ends with a number is an address, or would be taken for a bad one.
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is4()
	}
	return true
}

// String is the entry as ParseEntry reads it.
func (e Entry) String() string {
	if e.Port == 0 {
		return e.Host
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
}

// same reports whether two entries mean the same: names have no case.
func (e Entry) same(o Entry) bool { return e.Port == o.Port && strings.EqualFold(e.Host, o.Host) }

// valid says what is wrong with a target that somebody has put together.
func (t Target) valid() error {
	for _, e := range append([]Entry{t.Entry}, t.Also...) {
		if _, err := ParseEntry(e.String()); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether the entry means the target.
func (t Target) has(e Entry) bool { return t.Entry.same(e) || slices.ContainsFunc(t.Also, e.same) }
