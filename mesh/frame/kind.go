package frame

import "strconv"

// Kind says what a message is and so in which form its payload is. The
// numbers are on the wire: never change or reuse one.
type Kind uint8

// Control. These are not numbered: their seq is zero unless said otherwise.
const (
	Hello   Kind = 1 // up, first on every link: HelloPayload.
	HelloOK Kind = 2 // down, the answer: HelloOKPayload.
	Boot    Kind = 3 // up: the data that follows is numbered in this boot; payload: the BootID.
	Ack     Kind = 4 // both: seq is done with; down, payload: the BootID that seq counts in.
	Refuse  Kind = 5 // both: seq will never be taken, or, with seq 0, the link itself; Refusal.
	Ping    Kind = 6 // up: are you there; no payload.
	Pong    Kind = 7 // down: the answer; no payload.
)

// Data upward, numbered per (node, boot).
const (
	Exec Kind = 16 // how a job goes on this node; JSON, package mesh.
	Fact Kind = 17 // what the node is, whole: the newest replaces all before; JSON, package mesh.
	// Check is results of checks: mesh.CheckReport.
	Check Kind = 18
	// Have says which buckets of the zone the agent holds: the newest replaces
	// all before; package mesh/zone.
	Have Kind = 19
)

// Data downward, numbered per session.
const (
	Want   Kind = 64 // send the body of this digest: WantPayload.
	Config Kind = 65 // the node's resolved configuration; JSON.
	Zone   Kind = 66 // buckets and changes of the DNS zone; package mesh/zone.
	// RunCheck asks for checks to be run now: RunCheckPayload. The agent acks
	// when they are due; the results come as any others.
	RunCheck Kind = 67
)

// Up reports whether k is data that an agent sends.
func (k Kind) Up() bool { return k >= 16 && k < 64 }

// Down reports whether k is data that a server sends.
func (k Kind) Down() bool { return k >= 64 && k < 128 }

// LatestOnly reports whether a message of kind k makes all earlier ones of
// the same kind worthless, sent or not.
func (k Kind) LatestOnly() bool { return k == Fact || k == Have }

// String returns the kind's name, or its number.
func (k Kind) String() string {
	if s, ok := names[k]; ok {
		return s
	}
	return "kind " + strconv.Itoa(int(k))
}

var names = map[Kind]string{
	Hello: "hello", HelloOK: "hello-ok", Boot: "boot", Ack: "ack", Refuse: "refuse", Ping: "ping", Pong: "pong",
	Exec: "exec", Fact: "fact", Check: "check", Have: "have",
	Want: "want", Config: "config", Zone: "zone", RunCheck: "run-check",
}
