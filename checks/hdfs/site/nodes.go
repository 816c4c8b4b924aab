package site

import (
	"cmp"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"

	"alps/mesh"
)

// Hadoop's own ports.
const (
	portRPC      = "8020"
	portHTTP     = "9870"
	portTransfer = "9866"
	portDataHTTP = "9864"
	portDataIPC  = "9867"
)

// NameNode is one NameNode as its configuration has it.
type NameNode struct {
	Service string // the nameservice; "" without one.
	ID      string // within the nameservice: "nn1"; "" when there is only one.
	RPC     string // host:port.
	HTTP    string // host:port.
}

// Name is what people call it: its id, or its address when it has none.
func (n NameNode) Name() string { return cmp.Or(n.ID, n.RPC) }

// NameNodes returns every NameNode, in the order of the configuration, with the
// standbys. There is at least one, unless there is an error.
func (s *Site) NameNodes() ([]NameNode, error) {
	services := s.Services()
	if len(services) == 0 {
		n, err := s.nameNode("", "")
		if err != nil {
			return nil, err
		}
		return []NameNode{n}, nil
	}
	var out []NameNode
	for _, ns := range services {
		ids := s.list("dfs.ha.namenodes." + ns)
		if len(ids) == 0 {
			ids = []string{""}
		}
		for _, id := range ids {
			n, err := s.nameNode(ns, id)
			if err != nil {
				return nil, err
			}
			out = append(out, n)
		}
	}
	return out, nil
}

// Services returns the nameservices whose blocks the DataNodes hold; none means
// that there is one NameNode without a name.
func (s *Site) Services() []string {
	if own := s.list("dfs.internal.nameservices"); len(own) > 0 {
		return own
	}
	return s.list("dfs.nameservices")
}

// nameNode reads the addresses of one NameNode. Hadoop takes the machine of the
// RPC address for an HTTP address that means all of a machine's.
func (s *Site) nameNode(ns, id string) (NameNode, error) {
	n := NameNode{Service: ns, ID: id}
	key, rpc := s.suffixed("dfs.namenode.rpc-address", ns, id)
	if rpc == "" && id == "" {
		key, rpc = "fs.defaultFS", s.defaultFS()
	}
	if rpc == "" {
		return n, mesh.Errorf(mesh.Invalid, "find the NameNodes: %s has neither %s nor a fs.defaultFS that names one", s.Dir, suffix("dfs.namenode.rpc-address", ns, id)).
			WithHint(hint)
	}
	var err error
	if n.RPC, err = s.address(key, rpc, portRPC); err != nil {
		return n, err
	}
	host, _, _ := net.SplitHostPort(n.RPC)
	key, http := s.suffixed("dfs.namenode.http-address", ns, id)
	if n.HTTP, err = s.address(key, cmp.Or(http, ":"+portHTTP), portHTTP); err != nil {
		return n, err
	}
	if h, port, _ := net.SplitHostPort(n.HTTP); wildcard(h) {
		n.HTTP = net.JoinHostPort(host, port)
	}
	return n, nil
}

// defaultFS is the address in fs.defaultFS, when it names a NameNode.
func (s *Site) defaultFS() string {
	u, err := url.Parse(s.Get("fs.defaultFS"))
	if err != nil || u.Scheme != "hdfs" || u.Host == "" {
		return ""
	}
	return u.Host
}

// suffixed is the most special of the properties key.NS.ID, key.NS and key that
// is set.
func (s *Site) suffixed(key, ns, id string) (name, value string) {
	for _, name := range []string{suffix(key, ns, id), suffix(key, ns, ""), key} {
		if v := s.Get(name); v != "" {
			return name, v
		}
	}
	return key, ""
}

func suffix(key, ns, id string) string {
	for _, part := range []string{ns, id} {
		if part != "" {
			key += "." + part
		}
	}
	return key
}

// address reads host:port, in which the port may be missing.
func (s *Site) address(key, value, port string) (string, error) {
	if !strings.Contains(value, ":") {
		value = net.JoinHostPort(value, port)
	}
	host, p, err := net.SplitHostPort(value)
	if err != nil || strings.ContainsAny(host, " \t\n/$@?#") {
		return "", s.badf(key, "want host:port, got %q", value)
	}
	if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
		return "", s.badf(key, "want a port between 1 and 65535, got %q", p)
	}
	return net.JoinHostPort(host, p), nil
}

// wildcard reports whether a host means every address of its machine.
func wildcard(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

// DataNode is the addresses of the DataNode of this node.
type DataNode struct {
	Hostname string // as it calls itself; "": the machine's name.
	Transfer string // host:port; the host may be 0.0.0.0.
	HTTP     string
	IPC      string
}

// DataNode returns the addresses of the DataNode that runs with this
// configuration, whether one runs or not.
func (s *Site) DataNode() (DataNode, error) {
	d := DataNode{Hostname: s.Get("dfs.datanode.hostname")}
	for _, a := range []struct {
		to        *string
		key, port string
	}{
		{&d.Transfer, "dfs.datanode.address", portTransfer},
		{&d.HTTP, "dfs.datanode.http.address", portDataHTTP},
		{&d.IPC, "dfs.datanode.ipc.address", portDataIPC},
	} {
		v, err := s.address(a.key, cmp.Or(s.Get(a.key), "0.0.0.0:"+a.port), a.port)
		if err != nil {
			return d, err
		}
		*a.to = v
	}
	return d, nil
}

// Dial is where a listener is reached from its own machine: one that listens on
// all addresses listens on the loopback.
func Dial(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err == nil && wildcard(host) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// DataDir is one directory in which the DataNode keeps blocks.
type DataDir struct {
	Type string // DISK, SSD, ARCHIVE, …
	Path string // absolute and clean.
}

// DataDirs returns the directories of dfs.datanode.data.dir; none when it is
// not set, for its default is nobody's intention.
func (s *Site) DataDirs() ([]DataDir, error) {
	const key = "dfs.datanode.data.dir"
	var out []DataDir
	seen := make(map[string]bool)
	for _, word := range s.list(key) {
		d := DataDir{Type: "DISK"}
		rest := word
		if strings.HasPrefix(word, "[") {
			kind, after, ok := strings.Cut(word[1:], "]")
			if !ok {
				return nil, s.badf(key, "want [DISK]file:///data/1, got %q", word)
			}
			d.Type, rest = cmp.Or(strings.ToUpper(strings.TrimSpace(kind)), d.Type), strings.TrimSpace(after)
		}
		if d.Type == "PROVIDED" {
			continue // blocks of another store, on no disk of this node.
		}
		if u, err := url.Parse(rest); err == nil && u.Scheme == "file" && u.Host == "" {
			rest = u.Path
		}
		if !path.IsAbs(rest) || strings.Contains(rest, "${") {
			return nil, s.badf(key, "want an absolute path such as file:///data/1, got %q", word)
		}
		if d.Path = path.Clean(rest); !seen[d.Path] {
			out = append(out, d)
		}
		seen[d.Path] = true
	}
	return out, nil
}

// FailedVolumesTolerated is how many directories may fail before the DataNode
// stops; -1 means all but one.
func (s *Site) FailedVolumesTolerated() (int, error) {
	const key = "dfs.datanode.failed.volumes.tolerated"
	n, err := s.Int(key, 0)
	if err == nil && n < -1 {
		return 0, s.badf(key, "want -1 or more, got %d", n)
	}
	return n, err
}

// Replication is how many copies a block has when its writer does not say.
func (s *Site) Replication() (int, error) {
	const key = "dfs.replication"
	n, err := s.Int(key, 3)
	if err == nil && (n < 1 || n > 512) {
		return 0, s.badf(key, "want 1 to 512, got %d", n)
	}
	return n, err
}

// HostFiles is where a NameNode reads which DataNodes it may use.
type HostFiles struct {
	Include  string // dfs.hosts; the JSON file when Combined.
	Exclude  string // dfs.hosts.exclude.
	Combined bool   // one JSON file says all, maintenance too.
	// Provider is the class that reads the files; "" means Hadoop's own choice.
	Provider string
}

// HostFiles returns the host files. A Provider that is neither of Hadoop's two
// is told in an error: nobody knows what its files look like.
func (s *Site) HostFiles() (HostFiles, error) {
	const (
		key  = "dfs.namenode.hosts.provider.classname"
		pack = "org.apache.hadoop.hdfs.server.blockmanagement."
	)
	h := HostFiles{Include: s.Get("dfs.hosts"), Exclude: s.Get("dfs.hosts.exclude"), Provider: s.Get(key)}
	switch h.Provider {
	case "", pack + "HostFileManager":
	case pack + "CombinedHostFileManager":
		h.Combined = true
	default:
		return h, s.badf(key, "want HostFileManager or CombinedHostFileManager of %s, got %q", strings.TrimSuffix(pack, "."), h.Provider)
	}
	return h, nil
}

// Readable says whether the HTTP addresses answer without TLS, which is the
// only way in which ALPS reads them; nil means that they do.
func (s *Site) Readable() error {
	const key = "dfs.http.policy"
	if s.Get(key) == "HTTPS_ONLY" {
		return s.badf(key, "want HTTP_AND_HTTPS or HTTP_ONLY: JMX is read by HTTP, got %q", s.Get(key))
	}
	return nil
}
