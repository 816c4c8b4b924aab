package v1

import (
	"time"

	"alps/mesh"
)

// CheckFilter says which checks to list. The zero CheckFilter asks for all.
type CheckFilter struct {
	Query  string      // over nodes; empty means all.
	Check  string      // id or name; empty means all.
	Status mesh.Health // empty means all.
	After  string      // the Next of the page before.
	Limit  int         // zero takes the server's default.
}

// CheckList is a page of checks, by datacenter, node and id.
type CheckList struct {
	Checks []mesh.CheckState `json:"checks" nullable:"false"`
	Total  int               `json:"total" doc:"how many match, on all pages"`
	Next   string            `json:"next,omitempty" doc:"goes into after to read on; absent at the end"`
}

// RunCheckRequest says which check to run now.
type RunCheckRequest struct {
	Check  string `json:"check" minLength:"1" maxLength:"256" doc:"id or name of the check"`
	Target string `json:"target,omitempty" maxLength:"4096" doc:"a query over nodes; empty means every node that has it"`
}

// RunCheckAnswer is the checks that are run now; their results come with the
// next ones of the list, and as events of the topic check.
type RunCheckAnswer struct {
	Asked []mesh.NodeName `json:"asked" nullable:"false" doc:"nodes that run it now"`
	// Missed are nodes that have the check and cannot be asked.
	Missed map[string]string `json:"missed,omitempty" doc:"nodes that cannot be asked, and why"`
	Since  time.Time         `json:"since" doc:"results that were received later are the ones asked for"`
}

// ServiceSummary is one service of one datacenter in one line.
type ServiceSummary struct {
	Name      string   `json:"name"`
	DC        string   `json:"dc" doc:"the datacenter; the same name in another one is another service"`
	Tags      []string `json:"tags,omitempty" nullable:"false" doc:"of any instance, sorted"`
	Instances int      `json:"instances" doc:"how many there are; passing, warning, critical and unknown sum to it"`
	Passing   int      `json:"passing" doc:"instances whose checks and whose node's all pass, or that have none"`
	Warning   int      `json:"warning" doc:"instances whose worst check is warning"`
	Critical  int      `json:"critical" doc:"instances whose worst check is critical"`
	Unknown   int      `json:"unknown" doc:"instances of which nobody can say how they are, such as one whose TTL has expired"`
}

// ServiceList is every service, by datacenter and name.
type ServiceList struct {
	Services []ServiceSummary `json:"services" nullable:"false"`
	AsOf     time.Time        `json:"as_of,omitzero" doc:"when Consul was last heard of"`
}

// ServiceInstance is where a service runs.
type ServiceInstance struct {
	ID      string        `json:"id" doc:"unique on its node"`
	Node    mesh.NodeName `json:"node"`
	Address string        `json:"address" doc:"its own, or its node's"`
	Port    int           `json:"port,omitempty"`
	Tags    []string      `json:"tags,omitempty" nullable:"false"`
	Status  mesh.Health   `json:"status" doc:"the worst of its checks and its node's: critical, unknown, warning, passing"`
	Checks  []mesh.Check  `json:"checks" nullable:"false" doc:"its own and its node's"`
}

// ServiceDetail is one service of one datacenter.
type ServiceDetail struct {
	ServiceSummary

	DNS  []string          `json:"dns" nullable:"false" doc:"names that it is found under"`
	List []ServiceInstance `json:"list" nullable:"false" doc:"its instances, by node and id"`
}

// Datacenter is one datacenter that the server knows.
type Datacenter struct {
	Name   string    `json:"name"`
	Own    bool      `json:"own" doc:"the server's own"`
	Nodes  int       `json:"nodes" doc:"how many nodes it has"`
	Loaded bool      `json:"loaded" doc:"it was read in full once"`
	Away   time.Time `json:"away,omitzero" doc:"since when Consul does not answer there"`
	Error  string    `json:"error,omitempty" doc:"how Consul fails to answer there"`
}

// DatacenterList is every datacenter, the server's own first.
type DatacenterList struct {
	Datacenters []Datacenter `json:"datacenters" nullable:"false"`
}

// LockSession is a session of Consul and the keys that are locked with it.
type LockSession struct {
	mesh.Session

	Keys []string `json:"keys" nullable:"false" doc:"keys that are known to be locked with it"`
}

// SessionList is the sessions of a node.
type SessionList struct {
	Sessions []LockSession `json:"sessions" nullable:"false" doc:"as Consul lists them"`
}

// RTT is the round-trip time to another node, from network coordinates.
type RTT struct {
	Node mesh.NodeName `json:"node"`
	MS   float64       `json:"ms" doc:"milliseconds, there and back"`
}

// Tomography is how far a node is from the others of its segment, in
// milliseconds. Peers is empty while Consul has no coordinates.
type Tomography struct {
	Min    float64 `json:"min" doc:"milliseconds to the nearest peer; 0 without peers"`
	Median float64 `json:"median" doc:"milliseconds; of an even number of peers, the mean of the middle two"`
	Max    float64 `json:"max" doc:"milliseconds to the farthest peer"`
	Peers  []RTT   `json:"peers" nullable:"false" doc:"nearest first"`
}

// SettingList is the effective configuration of a node.
type SettingList struct {
	Settings []mesh.Setting `json:"settings" nullable:"false" doc:"by name"`
	// Delivered is when the node's agent took them over.
	Delivered time.Time `json:"delivered,omitzero" doc:"when the node's agent took them over; absent when it has not yet"`
}
