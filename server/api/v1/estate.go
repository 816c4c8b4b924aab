package v1

import (
	"encoding/json"
	"time"

	"alps/mesh"
)

// Status is what a server says of itself. Without a token only Version and
// Cluster are set.
type Status struct {
	Version string        `json:"version"`
	Cluster string        `json:"cluster"`
	Detail  *StatusDetail `json:"detail,omitempty" doc:"absent without a token"`
}

// StatusDetail is the part of a Status that needs a token.
type StatusDetail struct {
	Name    string    `json:"name" doc:"of the machine that the server runs on"`
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready" doc:"the inventory is loaded"`
	AsOf    time.Time `json:"as_of,omitzero" doc:"when Consul was last heard of"`
	Nodes   int       `json:"nodes"`
	Linked  int       `json:"linked" doc:"agents that are connected now"`
	Open    int       `json:"open" doc:"jobs that have not ended"`
	// Problems are in words for an operator; none means that all is well.
	Problems []string `json:"problems,omitempty"`
}

// NodeList is a page of nodes, by datacenter and name.
type NodeList struct {
	Nodes []mesh.Node `json:"nodes" nullable:"false"`
	Total int         `json:"total" doc:"how many match, on all pages"`
	Next  string      `json:"next,omitempty" doc:"goes into after to read on; absent at the end"`
	AsOf  time.Time   `json:"as_of,omitzero" doc:"when Consul was last heard of"`
}

// NodeFilter says which nodes to list. The zero NodeFilter asks for the first
// page of all.
type NodeFilter struct {
	Query string // empty means all.
	After string // the Next of the page before.
	Limit int    // zero takes the server's default.
}

// MemberList is what `consul members` shows, of all datacenters.
type MemberList struct {
	Members []mesh.Member `json:"members" nullable:"false"`
	AsOf    time.Time     `json:"as_of,omitzero" doc:"when Consul was last heard of"`
}

// RevokeRequest says why a node is shut out.
type RevokeRequest struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500"`
}

// JoinToken lets a machine become a node.
type JoinToken struct {
	ID        string    `json:"id"`
	Role      string    `json:"role,omitempty" doc:"what nodes that use it are declared to be"`
	Reusable  bool      `json:"reusable"`
	CreatedBy string    `json:"created_by"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Uses      int       `json:"uses"`
	LastUsed  time.Time `json:"last_used,omitzero"`
}

// JoinTokenList is every join token, the newest first.
type JoinTokenList struct {
	Tokens []JoinToken `json:"tokens" nullable:"false"`
}

// JoinTokenRequest says what join token to make.
type JoinTokenRequest struct {
	Role     string `json:"role,omitempty" maxLength:"64"`
	Reusable bool   `json:"reusable,omitempty" doc:"false: one machine, once"`
	TTL      int    `json:"ttl,omitempty" minimum:"0" doc:"seconds that it is good for; 0 takes the server's default"`
}

// NewJoinToken is a join token with its text, which is shown this once.
type NewJoinToken struct {
	JoinToken

	Text string `json:"text"`
}

// Token is an API token, without its secret.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role" enum:"viewer,operator,admin"`
	Scope     string    `json:"scope" doc:"a query over nodes"`
	CreatedBy string    `json:"created_by"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero" doc:"absent: it does not expire"`
	LastUsed  time.Time `json:"last_used,omitzero" doc:"to the minute"`
}

// TokenList is every API token, the newest first.
type TokenList struct {
	Tokens []Token `json:"tokens" nullable:"false"`
}

// TokenRequest says what API token to make.
type TokenRequest struct {
	Name  string `json:"name" minLength:"1" maxLength:"64" doc:"whose it is or what for; audit records show it"`
	Role  string `json:"role" enum:"viewer,operator,admin"`
	Scope string `json:"scope,omitempty" maxLength:"4096" doc:"a query over nodes; empty means all"`
	TTL   int    `json:"ttl,omitempty" minimum:"0" doc:"seconds that it is good for; 0 means for ever"`
}

// NewToken is an API token with its text, which is shown this once.
type NewToken struct {
	Token

	Text string `json:"text"`
}

// AuditFilter limits a list of audit lines. The zero AuditFilter asks for the
// newest.
type AuditFilter struct {
	Actor  string
	Action string // exact, or a noun with all its verbs: "job.".
	Object string
	Since  time.Time // this time or later.
	Until  time.Time // before this time.
	Before int64     // the Next of the page before.
	Limit  int       // zero takes the server's default.
}

// AuditList is a page of the audit, the newest line first.
type AuditList struct {
	Lines []mesh.Audit `json:"lines" nullable:"false"`
	Next  int64        `json:"next,omitempty" doc:"goes into before to read on; absent at the end"`
}

// EventReset is the Type of the event that tells a client to read the state;
// every other event is a change to what was read after it.
const EventReset = "reset"

// Event is one change.
type Event struct {
	ID    string          `json:"-"` // where to continue from; on the wire it is the event stream's own id.
	Topic string          `json:"topic,omitempty" doc:"what changed: job/<id>, node, alert"`
	Type  string          `json:"type" doc:"how it changed; reset means: read the state"`
	Node  mesh.NodeName   `json:"node,omitempty" doc:"the node that it is about, if it is about one"`
	Data  json.RawMessage `json:"data,omitempty" doc:"depends on topic and type"`
}
