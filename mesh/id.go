package mesh

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/fnv"
)

// NodeID is a node's identity: 128 random bits as 32 lower-case hexadecimal
// digits, made at enrolment, kept in the agent's data directory and in its
// certificate. Host names, addresses and machine ids are evidence, never the
// identity: cloned images share them.
type NodeID string

// NodeName is the name that Consul knows a node by. It is an attribute of a
// NodeID and may change.
type NodeName string

// JobID names one job for ever: 64 random bits as 16 lower-case hexadecimal
// digits, short enough to type.
type JobID string

// NewNodeID returns a fresh random NodeID.
func NewNodeID() NodeID { return NodeID(RandomHex(16)) }

// NewJobID returns a fresh random JobID.
func NewJobID() JobID { return JobID(RandomHex(8)) }

// ParseNodeID checks that s has the form of a NodeID.
func ParseNodeID(s string) (NodeID, error) {
	if !IsLowerHex(s, 32) {
		return "", fmt.Errorf("node id %q is not 32 lower-case hexadecimal digits", s)
	}
	return NodeID(s), nil
}

// ParseJobID checks that s has the form of a JobID.
func ParseJobID(s string) (JobID, error) {
	if !IsLowerHex(s, 16) {
		return "", fmt.Errorf("job id %q is not 16 lower-case hexadecimal digits", s)
	}
	return JobID(s), nil
}

// Shards is the number of heads that jobs are announced on. It is part of the
// key layout and of every event's bitmap: changing it is a migration.
const Shards = 16

// Shard says on which of the Shards heads a node's jobs are announced. FNV-1a
// over the NodeID's text: stable across versions and machines.
func (id NodeID) Shard() int { return id.shard(Shards) }

// FactShards is the number of KV prefixes that the CMDB's records are spread
// over, so that one changed record does not re-read all of them.
const FactShards = 64

// FactShard says under which of the FactShards prefixes a node's records lie.
func (id NodeID) FactShard() int { return id.shard(FactShards) }

func (id NodeID) shard(n uint32) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % n)
}

// RandomHex returns that many random bytes as lower-case hexadecimal digits:
// twice as many characters.
func RandomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead.
	return hex.EncodeToString(b)
}

// IsLowerHex reports whether s is exactly n lower-case hexadecimal digits.
func IsLowerHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
