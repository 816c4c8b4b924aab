package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits that both sides of a job hold to. They are part of the protocol.
const (
	// SpecVersion is the version of Spec that this code writes and the only
	// one that a node accepts.
	SpecVersion = 1
	// MaxEnvelope is the most bytes that a signed Spec may take in KV.
	MaxEnvelope = 8 << 10
	// MaxInlineScript is the most bytes of a script that travel inside the
	// Spec; a longer one is a blob that the node fetches by its digest.
	MaxInlineScript = 1 << 10
	// MaxScript is the largest script that is accepted at all.
	MaxScript = 1 << 20
	// MaxInlineTargets is the longest target list that travels inside the
	// Spec; a longer one is cut into parts by shard.
	MaxInlineTargets = 64
	// MaxInlineOutput is the most bytes of output, both streams together,
	// that travel with a Report.
	MaxInlineOutput = 4 << 10
	// MaxOutput is how much of each stream a node keeps for the server: half
	// of it from the head and half from the tail.
	MaxOutput = 1 << 20
	// MaxSkew is how far a node's clock may be from the server's before a job
	// is refused because of it.
	MaxSkew = 2 * time.Minute
	// RememberFor is how long after its expiry a node keeps a job's id, so
	// that a replayed document never runs.
	RememberFor = 24 * time.Hour
)

// Spec is what a job is, as it is signed. Its JSON bytes are signed as sent
// and never re-encoded. Times are Unix seconds, durations are seconds: what
// the two sides compare has no fractions.
type Spec struct {
	Version int    `json:"v"`
	Cluster string `json:"cluster"`
	Job     JobID  `json:"job"`
	// Attempt counts from 1; running the failed nodes again is a new attempt
	// of the same job, with a new signature.
	Attempt int    `json:"attempt"`
	Author  string `json:"author"`

	// Exactly one of Command and Script is set. Command is an argument
	// vector, run without a shell.
	Command []string `json:"command,omitempty"`
	Script  *Script  `json:"script,omitempty"`
	// Args follow the script's path.
	Args []string          `json:"args,omitempty"`
	Env  map[string]string `json:"env,omitempty"`
	// RunAs is a user name from the node's allow-list; empty means the user
	// that the agent runs as.
	RunAs string `json:"run_as,omitempty"`
	// Timeout is the longest the process may run; Grace lies between TERM and
	// KILL. Both in seconds, both positive.
	Timeout int `json:"timeout"`
	Grace   int `json:"grace"`
	// Idempotent allows a node to start the job again after a restart in the
	// middle of it. Without it the outcome is UNKNOWN.
	Idempotent bool `json:"idempotent,omitempty"`

	NotBefore int64 `json:"nbf"`
	Expires   int64 `json:"exp"`
	// Window is over how many milliseconds the nodes spread their starts.
	Window int `json:"window,omitempty"`

	Targets TargetList `json:"targets"`
}

// Script is a file that a job runs. Body is set when it is short enough to
// travel inline; otherwise the node fetches it by SHA256.
type Script struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int    `json:"size"`
	Body   []byte `json:"body,omitempty"`
}

// Digest is the SHA-256 of a document, a script or an output in lower-case
// hexadecimal.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TargetList fixes who a job is for. Inline holds the whole list when it is
// short; otherwise Parts names, for each shard that has targets, the digest
// and the length of the document that holds them. Count is the length of the
// whole list: the job's denominator.
type TargetList struct {
	Count  int          `json:"count"`
	Inline []Target     `json:"inline,omitempty"`
	Parts  []PartDigest `json:"parts,omitempty"`
}

// Target is one node of a job and the wave that it belongs to. Waves count
// from 0.
type Target struct {
	Node NodeID `json:"n"`
	Wave int    `json:"w,omitempty"`
}

// PartDigest binds one part of a long target list to the signature.
type PartDigest struct {
	Shard  int    `json:"s"`
	SHA256 string `json:"sha256"`
	Count  int    `json:"n"`
}

// Validate checks that a Spec makes sense in itself. It does not look at the
// clock, at a signature or at who reads it.
func (s *Spec) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Version != SpecVersion {
		bad("version %d is not %d", s.Version, SpecVersion)
	}
	if s.Cluster == "" {
		bad("no cluster is named")
	}
	if _, err := ParseJobID(string(s.Job)); err != nil {
		errs = append(errs, err)
	}
	if s.Attempt < 1 {
		bad("attempt %d is not positive", s.Attempt)
	}
	switch {
	case len(s.Command) > 0 && s.Script != nil:
		bad("both a command and a script are given")
	case len(s.Command) > 0 && s.Command[0] == "":
		bad("the command is empty")
	case len(s.Command) == 0 && s.Script == nil:
		bad("neither a command nor a script is given")
	case s.Script != nil:
		errs = append(errs, s.Script.validate())
	}
	for k := range s.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") {
			bad("environment variable name %q is not valid", k)
		}
	}
	if s.Timeout <= 0 || s.Grace <= 0 {
		bad("timeout %d s and grace %d s must both be positive", s.Timeout, s.Grace)
	}
	if s.Expires <= s.NotBefore {
		bad("it expires at %d, not after it begins at %d", s.Expires, s.NotBefore)
	}
	errs = append(errs, s.Targets.validate())
	return errors.Join(errs...)
}

func (s *Script) validate() error {
	switch {
	case !IsLowerHex(s.SHA256, 64):
		return fmt.Errorf("script digest %q is not a SHA-256", s.SHA256)
	case s.Size < 1 || s.Size > MaxScript:
		return fmt.Errorf("script of %d bytes is not between 1 and %d", s.Size, MaxScript)
	case s.Body != nil && len(s.Body) != s.Size:
		return fmt.Errorf("script body has %d bytes, not %d", len(s.Body), s.Size)
	}
	return nil
}

func (l *TargetList) validate() error {
	sum := len(l.Inline)
	for _, p := range l.Parts {
		if p.Shard < 0 || p.Shard >= Shards || p.Count < 1 || !IsLowerHex(p.SHA256, 64) {
			return fmt.Errorf("part of shard %d is not valid", p.Shard)
		}
		sum += p.Count
	}
	if l.Count < 1 || sum != l.Count || (len(l.Inline) > 0 && len(l.Parts) > 0) {
		return fmt.Errorf("the target list says %d nodes and holds %d", l.Count, sum)
	}
	return nil
}

// Woke says what made a node look for a job.
type Woke string

// The ways in which a node learns of a job. WokeStart is the look that every
// agent takes when it starts.
const (
	WokeEvent Woke = "event"
	WokeWatch Woke = "watch"
	WokePoll  Woke = "poll"
	WokeStart Woke = "start"
)

// Report is what a node says of its part in a job. A node sends one for each
// State that it enters; the same report may arrive twice.
type Report struct {
	Job     JobID  `json:"job"`
	Attempt int    `json:"attempt"`
	Node    NodeID `json:"node"`
	State   State  `json:"state"`
	// Reason says, in words for an operator, why a node refused or what an
	// end means; empty for a plain exit.
	Reason string `json:"reason,omitempty"`
	// Code is the exit code of a FAILED process, Signal the name of the
	// signal of a SIGNALED one.
	Code   int    `json:"code,omitempty"`
	Signal string `json:"signal,omitempty"`
	Woke   Woke   `json:"woke,omitempty"`
	// At is when the node entered the State, by its own clock; Started and
	// Ended bracket the process.
	At      time.Time `json:"at"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Stdout  Output    `json:"stdout,omitzero"`
	Stderr  Output    `json:"stderr,omitzero"`
}

// Output is one stream of a finished process. Digest is the SHA-256, in
// hexadecimal, of the kept bytes; it is empty when nothing was written.
// Inline holds the kept bytes when both streams together are short; otherwise
// the server asks for a digest that it does not know.
type Output struct {
	Bytes     int64  `json:"bytes,omitempty"` // as written by the process.
	Truncated bool   `json:"truncated,omitempty"`
	Digest    string `json:"digest,omitempty"`
	Inline    []byte `json:"inline,omitempty"`
}

// Counts is how many targets of a job are in each State.
type Counts map[State]int

// Total is the job's denominator.
func (c Counts) Total() int {
	n := 0
	for _, v := range c {
		n += v
	}
	return n
}

// Open is how many targets have not ended.
func (c Counts) Open() int {
	n := 0
	for s, v := range c {
		if !s.Ended() {
			n += v
		}
	}
	return n
}
