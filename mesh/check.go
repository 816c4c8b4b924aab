package mesh

import (
	"strings"
	"time"
)

// CheckKind says how a check asks.
type CheckKind string

// The kinds of checks. For tcp, http and grpc a timeout is critical: the thing
// that was asked did not answer. For script and probe it is unknown: the asker
// failed.
const (
	CheckScript CheckKind = "script" // a command with a Nagios exit code and perfdata.
	CheckTCP    CheckKind = "tcp"    // a connection can be opened.
	CheckHTTP   CheckKind = "http"   // 2xx passes, 429 warns, the rest is critical.
	CheckTTL    CheckKind = "ttl"    // somebody else says how it is, and says it in time.
	CheckProbe  CheckKind = "probe"  // Go code of a pack.
)

// TimeoutHealth is what a check of kind k is when it took too long.
func (k CheckKind) TimeoutHealth() Health {
	switch k {
	case CheckTCP, CheckHTTP, CheckTTL:
		return HealthCritical
	case CheckScript, CheckProbe:
	}
	return HealthUnknown
}

// CheckRunner says who runs a check.
type CheckRunner string

// The runners. With RunnerAgent, ALPS runs the check and Consul holds a TTL
// check; with RunnerConsul, Consul's own agent runs it and ALPS reads how it
// is.
const (
	RunnerAgent  CheckRunner = "agent"
	RunnerConsul CheckRunner = "consul"
)

// ServiceDef is a service that an agent registers with its Consul agent.
type ServiceDef struct {
	ID      string            `json:"id"` // unique on the node; the name unless told otherwise.
	Name    string            `json:"name"`
	Address string            `json:"address,omitempty"` // empty: the node's.
	Port    int               `json:"port,omitempty"`
	Tags    []string          `json:"tags,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"`
	Origin  string            `json:"origin,omitempty"` // file:line, for messages.
}

// CheckDef is a check as an agent runs it: complete, defaults filled in. Of
// the fields that say how to ask, those of its Kind are set.
type CheckDef struct {
	ID      string      `json:"id"` // unique on the node.
	Name    string      `json:"name"`
	Kind    CheckKind   `json:"kind"`
	Service string      `json:"service,omitempty"` // id of the ServiceDef that it is about; empty: the node.
	Notes   string      `json:"notes,omitempty"`
	Runner  CheckRunner `json:"runner"`

	Command []string            `json:"command,omitempty"` // script: argument vector.
	Env     map[string]string   `json:"env,omitempty"`     // script.
	Address string              `json:"address,omitempty"` // tcp: host:port.
	URL     string              `json:"url,omitempty"`     // http.
	Method  string              `json:"method,omitempty"`  // http; empty: GET.
	Header  map[string][]string `json:"header,omitempty"`  // http.
	Body    string              `json:"body,omitempty"`    // http.
	// TLSSkipVerify takes any certificate, as Consul's key of that name does.
	TLSSkipVerify bool `json:"tls_skip_verify,omitempty"`
	// Probe is "<pack>.<probe>", Settings its thresholds as text.
	Probe    string            `json:"probe,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
	TTL      time.Duration     `json:"ttl,omitempty"`

	Interval time.Duration `json:"interval,omitempty"` // zero for ttl alone.
	Timeout  time.Duration `json:"timeout,omitempty"`
	// Attempts is how many results in a row make a change hard; at least 1.
	Attempts int `json:"attempts"`
	// Initial is how Consul shows it before the first result; empty: critical,
	// as in Consul.
	Initial Health `json:"initial,omitempty"`
	// DeregisterAfter has Consul drop the service when the check was critical
	// for that long; zero: never.
	DeregisterAfter time.Duration `json:"deregister_after,omitempty"`
	Origin          string        `json:"origin,omitempty"` // file:line, or the pack; for messages.
}

// Sample is one number that a check gives beside its status: Nagios perfdata,
// or the latency of the check itself.
type Sample struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"` // s, B, %, c; base units.
	Warn  string  `json:"warn,omitempty"` // ranges as in perfdata.
	Crit  string  `json:"crit,omitempty"`
	Min   string  `json:"min,omitempty"`
	Max   string  `json:"max,omitempty"`
}

// MaxCheckOutput is how many bytes of a check's output are kept; what is over
// it is cut from the end. It is Consul's own limit.
const MaxCheckOutput = 4 << 10

// CheckResult is one result of one check.
type CheckResult struct {
	Check   string    `json:"check"` // CheckDef.ID.
	Name    string    `json:"name"`
	Kind    CheckKind `json:"kind"`
	Service string    `json:"service,omitempty"`
	Notes   string    `json:"notes,omitempty"`
	// Seq counts the results of this check since the agent started; a gap is
	// a result that was not sent because nothing had changed, or was lost.
	Seq uint64 `json:"seq"`
	// Status is the raw result. Hard is the status that Attempts results in a
	// row have confirmed, HardSince since when it is.
	Status    Health    `json:"status"`
	Hard      Health    `json:"hard"`
	HardSince time.Time `json:"hard_since,omitzero"`
	Attempt   int       `json:"attempt"` // of Attempts, from 1.
	Attempts  int       `json:"attempts"`
	Flapping  bool      `json:"flapping,omitempty"`
	Timeout   bool      `json:"timeout,omitempty"` // it took too long.
	Code      int       `json:"code,omitempty"`    // exit code of a script, status of an http.
	Output    string    `json:"output,omitempty"`  // valid UTF-8, at most MaxCheckOutput.
	Truncated bool      `json:"truncated,omitempty"`
	Samples   []Sample  `json:"samples,omitempty"`
	// Disks are those that the check has found broken, as the function Disks
	// has them. A disk is the kernel's name of the block device, such as sdb1;
	// for a directory that lies on none it is the mount point that it lies on.
	// Two checks of a node that find the same disk name it alike.
	Disks []string `json:"disks,omitempty"`
	// At is when the check ended, by the node's clock; Took how long it ran.
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took"`
	// Period is how long until the next result is due at the latest: interval
	// plus timeout, or the TTL. Two periods of silence are silence.
	Period time.Duration `json:"period"`
}

// CheckReport is what an agent says of its checks: the payload of a message on
// the link. Full means that Results holds every check of the node, and what is
// not in it is no more; an agent begins each link with one.
type CheckReport struct {
	Full    bool          `json:"full,omitempty"`
	Results []CheckResult `json:"results,omitempty"`
	// Gone are the ids of checks that are no longer defined.
	Gone []string `json:"gone,omitempty"`
}

// CheckSource says where a CheckState comes from.
type CheckSource string

// The sources. SourceCatalog is read when the link is silent for two periods.
const (
	SourceLink    CheckSource = "link"
	SourceCatalog CheckSource = "catalog"
)

// CheckState is what a server believes of one check on one node now. Status is
// what rules look at: the hard status of the newest result, unknown when
// nobody can say.
type CheckState struct {
	Node   NodeName    `json:"node"`
	NodeID NodeID      `json:"node_id,omitempty"`
	DC     string      `json:"dc"`
	Status Health      `json:"status"`
	Since  time.Time   `json:"since,omitzero"` // of Status.
	Source CheckSource `json:"source"`
	// AgentLost is true when the status is unknown because the node's agent is
	// lost: not a fault of what is checked.
	AgentLost bool        `json:"agent_lost,omitempty"`
	Received  time.Time   `json:"received,omitzero"` // by the server's clock.
	Result    CheckResult `json:"result"`
}

// UnknownOutput begins the output of a check that is unknown where only
// passing, warning and critical can be said: in Consul it is a warning.
const UnknownOutput = "UNKNOWN: "

// TTLExpired begins the output of a TTL check of Consul that nobody has
// refreshed. It says that its agent is lost, nothing about what is checked.
const TTLExpired = "TTL expired"

// CatalogHealth turns the status of a check in Consul's catalog into what it
// means: one whose TTL has expired, and one that says so, is unknown.
func CatalogHealth(status Health, output string) (h Health, agentLost bool) {
	switch {
	case status == HealthCritical && strings.HasPrefix(output, TTLExpired):
		return HealthUnknown, true
	case status == HealthWarning && strings.HasPrefix(output, UnknownOutput):
		return HealthUnknown, false
	}
	return status, false
}

// The check and the service by which an agent says in Consul that it lives.
const (
	AgentService  = "alps-agent"
	AgentCheck    = "alps-agent"
	AgentCheckTTL = 30 * time.Second
)

// SerfCheck is the check by which Consul's gossip says that a node lives.
const SerfCheck = "serfHealth"
