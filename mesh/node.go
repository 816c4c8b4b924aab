package mesh

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Facts is what an agent observes of its machine. Volatile values (load, free
// memory) are not facts. Sizes are bytes.
type Facts struct {
	Host      string      `json:"host"` // the operating system's host name.
	OS        string      `json:"os"`   // linux
	Distro    string      `json:"distro,omitempty"`
	Version   string      `json:"version,omitempty"` // of the distribution.
	Kernel    string      `json:"kernel,omitempty"`
	Arch      string      `json:"arch"`
	CPUs      int         `json:"cpus"`
	CPUModel  string      `json:"cpu_model,omitempty"`
	Memory    uint64      `json:"memory"`
	Disks     []Disk      `json:"disks,omitempty"`
	Addresses []Interface `json:"addresses,omitempty"`
	MachineID string      `json:"machine_id,omitempty"`
	DMIUUID   string      `json:"dmi_uuid,omitempty"`
	BootTime  int64       `json:"boot_time,omitempty"` // Unix seconds.
	Virtual   string      `json:"virtual,omitempty"`   // kvm, docker, …; empty on bare metal.
	Agent     string      `json:"agent"`               // version of the ALPS agent.
	// Name is the Consul node that the agent lives beside.
	Name NodeName `json:"name"`
	DC   string   `json:"dc"`
	// Domains are those that the agent answers names in.
	Domains []string `json:"domains,omitempty"`
}

// Disk is one mounted file system on a real device.
type Disk struct {
	Device string `json:"device"`
	Mount  string `json:"mount"`
	Type   string `json:"type"`
	Size   uint64 `json:"size"`
}

// Interface is one network interface with its addresses in CIDR form.
type Interface struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

// Observation is a Facts with where and when it comes from: the observed
// layer of a node's record.
type Observation struct {
	Node      NodeID    `json:"node"`
	Collector string    `json:"collector"`
	At        time.Time `json:"at"`
	Facts     Facts     `json:"facts"`
}

// Naming is what the estate's naming convention says of a node's name. The
// zero Naming means that the name does not fit the convention.
type Naming struct {
	Site    string `json:"site,omitempty"`    // city and zone: bj-e
	Role    string `json:"role,omitempty"`    // hadoop, general-zk, bigdata-es
	Cluster string `json:"cluster,omitempty"` // the number behind the role: 01
	Rack    string `json:"rack,omitempty"`    // the third address octet: 11
	Number  string `json:"number,omitempty"`  // the last octet, or the running number: 203
}

// namePattern is `<city>-<zone>-<role>-<last two address octets or number>`.
// A number that is glued to the role is the cluster when octets follow it and
// the node's number when nothing does.
var namePattern = regexp.MustCompile(`^([a-z]+-[a-z])-([a-z][a-z0-9-]*?[a-z])(\d+)?(?:-(\d{1,3})(?:-(\d{1,3}))?)?$`)

// ParseNaming derives attributes from a node's name by the convention
// `<city>-<zone>-<role>-<last two address octets or number>`, as in
// bj-e-hadoop01-11-203. It returns false for a name that does not fit, which
// is a lint and not an error.
func ParseNaming(name NodeName) (Naming, bool) {
	m := namePattern.FindStringSubmatch(string(name))
	if m == nil {
		return Naming{}, false
	}
	n := Naming{Site: m[1], Role: m[2]}
	glued, first, second := m[3], m[4], m[5]
	switch {
	case second != "":
		n.Cluster, n.Rack, n.Number = glued, first, second
	case first != "":
		n.Cluster, n.Number = glued, first
	default:
		n.Number = glued
	}
	return n, true
}

// MemberStatus is how serf sees a node.
type MemberStatus string

// The statuses of a member, in serf's words. The zero MemberStatus means that
// Consul does not know the node.
const (
	MemberAlive   MemberStatus = "alive"
	MemberLeaving MemberStatus = "leaving"
	MemberLeft    MemberStatus = "left"
	MemberFailed  MemberStatus = "failed"
)

// Member is one row of `consul members`.
type Member struct {
	Name     NodeName     `json:"name"`
	Address  string       `json:"address"`
	Port     int          `json:"port"`
	Status   MemberStatus `json:"status"`
	Type     string       `json:"type"` // server or client
	Build    string       `json:"build"`
	Protocol string       `json:"protocol"`
	DC       string       `json:"dc"`
	Segment  string       `json:"segment"`
}

// AgentStatus is what a server knows of the ALPS agent on a node.
type AgentStatus string

// The statuses of an agent. AgentNone means that none has enrolled under the
// node's name.
const (
	AgentNone    AgentStatus = "none"
	AgentLinked  AgentStatus = "linked"
	AgentLost    AgentStatus = "lost"
	AgentRevoked AgentStatus = "revoked"
)

// Node is one machine as the CMDB shows it: membership from Consul, facts
// from its agent, attributes derived from its name. It is a value in an
// immutable snapshot: do not change what its slices and maps hold.
type Node struct {
	ID       NodeID            `json:"id,omitempty"` // empty: no agent has enrolled.
	Name     NodeName          `json:"name"`
	DC       string            `json:"dc"`
	Address  string            `json:"address"`
	Status   MemberStatus      `json:"status"`
	Type     string            `json:"type,omitempty"`
	Build    string            `json:"build,omitempty"`
	Agent    AgentStatus       `json:"agent"`
	Since    time.Time         `json:"since,omitzero"` // of Agent.
	Naming   Naming            `json:"naming,omitzero"`
	Facts    *Facts            `json:"facts,omitempty"`
	FactsAt  time.Time         `json:"facts_at,omitzero"`
	Services []Service         `json:"services,omitempty"`
	Checks   []Check           `json:"checks,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
}

// Service is one service instance in Consul's catalog.
type Service struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Address is the service's own, or the node's.
	Address string            `json:"address,omitempty"`
	Port    int               `json:"port,omitempty"`
	Tags    []string          `json:"tags,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"`
}

// Health is the status of a check in Consul's words; the zero Health is
// unknown.
type Health string

// The statuses of a check, and of a node as the worst of its checks.
const (
	HealthUnknown  Health = "unknown"
	HealthPassing  Health = "passing"
	HealthWarning  Health = "warning"
	HealthCritical Health = "critical"
)

// Check is one health check in Consul's catalog.
type Check struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Status  Health `json:"status"`
	Service string `json:"service,omitempty"` // its name; empty for a check of the node.
	// ServiceID tells two instances of one service on one node apart.
	ServiceID string `json:"service_id,omitempty"`
	Notes     string `json:"notes,omitempty"`
	Output    string `json:"output,omitempty"`
}

// Health is the worst status of a node's checks, unknown when it has none.
func (n *Node) Health() Health {
	worst := HealthUnknown
	for _, c := range n.Checks {
		switch c.Status {
		case HealthCritical:
			return HealthCritical
		case HealthWarning:
			worst = HealthWarning
		case HealthPassing:
			if worst == HealthUnknown {
				worst = HealthPassing
			}
		case HealthUnknown:
		}
	}
	return worst
}

// FieldNames lists what Field knows, in the order of the documentation.
func FieldNames() []string {
	return []string{
		"name", "id", "dc", "address", "member", "status", "type", "build", "agent",
		"site", "role", "cluster", "rack", "number",
		"service", "tag", "check", "os", "distro", "version", "kernel", "arch", "cpus", "mem_gb",
		"disk_gb", "virtual", "host", "machine_id", "meta.<key>",
	}
}

// Field returns the values of one attribute for the query grammar, nil when
// the node lacks it. status is the worst check, member is serf's word.
func (n *Node) Field(name string) []string {
	switch name {
	case "name":
		return one(string(n.Name))
	case "id":
		return one(string(n.ID))
	case "dc":
		return one(n.DC)
	case "address":
		return one(n.Address)
	case "member":
		return one(string(n.Status))
	case "status":
		return one(string(n.Health()))
	case "type":
		return one(n.Type)
	case "build":
		return one(n.Build)
	case "agent":
		return one(string(n.Agent))
	case "site":
		return one(n.Naming.Site)
	case "role":
		return one(n.Naming.Role)
	case "cluster":
		return one(n.Naming.Cluster)
	case "rack":
		return one(n.Naming.Rack)
	case "number":
		return one(n.Naming.Number)
	case "service", "tag", "check":
		return n.catalogField(name)
	}
	if key, ok := strings.CutPrefix(name, "meta."); ok {
		return one(n.Meta[key])
	}
	if n.Facts == nil {
		return nil
	}
	return n.Facts.field(name)
}

func (n *Node) catalogField(name string) []string {
	var out []string
	switch name {
	case "service":
		for _, s := range n.Services {
			out = append(out, s.Name)
		}
	case "tag":
		for _, s := range n.Services {
			out = append(out, s.Tags...)
		}
	case "check":
		for _, c := range n.Checks {
			out = append(out, c.Name)
		}
	}
	return out
}

func (f *Facts) field(name string) []string {
	switch name {
	case "os":
		return one(f.OS)
	case "distro":
		return one(f.Distro)
	case "version":
		return one(f.Version)
	case "kernel":
		return one(f.Kernel)
	case "arch":
		return one(f.Arch)
	case "cpus":
		return one(strconv.Itoa(f.CPUs))
	case "mem_gb":
		return one(gib(f.Memory))
	case "disk_gb":
		var sum uint64
		for _, d := range f.Disks {
			sum += d.Size
		}
		return one(gib(sum))
	case "virtual":
		return one(f.Virtual)
	case "host":
		return one(f.Host)
	case "machine_id":
		return one(f.MachineID)
	}
	return nil
}

// gib prints a size in GiB with one decimal, so that mem_gb>64 means what an
// operator reads on the box.
func gib(b uint64) string {
	return strconv.FormatFloat(float64(b)/(1<<30), 'f', 1, 64)
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
