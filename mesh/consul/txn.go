package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// Consul's limits of one transaction.
const (
	MaxTxnOps   = 128
	MaxTxnBytes = 512 << 10 // of the request, see TxnSize.
)

// Verb is what one operation of a transaction does.
type Verb string

// The verbs. Where one needs more than a key, it is said.
const (
	OpSet            Verb = "set"              // Value.
	OpCAS            Verb = "cas"              // Value, Index (0: if missing).
	OpGet            Verb = "get"              // fails if missing.
	OpGetTree        Verb = "get-tree"         // Key is a prefix.
	OpDelete         Verb = "delete"           // no error if missing.
	OpDeleteCAS      Verb = "delete-cas"       // Index.
	OpDeleteTree     Verb = "delete-tree"      // Key is a prefix.
	OpLock           Verb = "lock"             // Value, Session; fails if another holds it.
	OpCheckIndex     Verb = "check-index"      // Index.
	OpCheckSession   Verb = "check-session"    // Session, which must hold the lock.
	OpCheckNotExists Verb = "check-not-exists" // fails if there.
)

// Op is one operation of a transaction.
type Op struct {
	Verb    Verb
	Key     string
	Value   []byte
	Index   uint64
	Session string
}

// TxnError says which operations made Consul refuse a transaction as a whole.
// It lies in the chain of what Txn returns.
type TxnError struct {
	Failed []OpError
}

// OpError is one operation that failed.
type OpError struct {
	Op   int    // its place in the transaction.
	Key  string // its key.
	What string // in Consul's words.
}

// Error lists what failed.
func (e *TxnError) Error() string {
	parts := make([]string, len(e.Failed))
	for i, f := range e.Failed {
		parts[i] = fmt.Sprintf("operation %d on %q: %s", f.Op, f.Key, oneLine(f.What))
	}
	return strings.Join(parts, "; ")
}

// Txn does all operations, or none. It returns a Pair for each operation that
// gives one, in the order of ops: sets without their value but with the new
// ModifyIndex, gets whole; deletes and OpCheckNotExists give none. A
// transaction costs one Raft entry.
//
// When a condition does not hold it is a mesh.Conflict with a TxnError in it;
// a session that is gone is a mesh.NotFound.
// Too many operations, or too many bytes, are refused here with
// mesh.TooLarge: nothing was sent.
func (c *Client) Txn(ctx context.Context, ops []Op) ([]Pair, error) {
	what := fmt.Sprintf("run a transaction of %d operations", len(ops))
	if len(ops) == 0 {
		return nil, nil
	}
	if len(ops) > MaxTxnOps {
		return nil, mesh.Errorf(mesh.TooLarge, "%s: Consul takes %d", what, MaxTxnOps)
	}
	body, err := encodeTxn(ops)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(body) > MaxTxnBytes {
		return nil, mesh.Errorf(mesh.TooLarge, "%s: its %d bytes are more than the %d that Consul takes", what, len(body), MaxTxnBytes)
	}
	var answer api.TxnResponse
	err = c.write(ctx, what, func(o *api.WriteOptions) error {
		// Consul's own Txn hides the status of an error from us.
		_, err := c.api.Raw().Write("/v1/txn", json.RawMessage(body), &answer, o)
		if refused, ok := refusal(ops, err); ok {
			return refused
		}
		return err
	})
	if refused, ok := errors.AsType[*TxnError](err); ok {
		return nil, mesh.Errorf(refused.code(), "%s: %w", what, refused)
	}
	if err != nil {
		return nil, err
	}
	var pairs []Pair
	for _, r := range answer.Results {
		if r.KV != nil {
			pairs = append(pairs, pairOf(r.KV))
		}
	}
	return pairs, nil
}

// TxnSize returns how many of the MaxTxnBytes ops take. The sizes of two
// lists add up to a little more than the size of both together.
func TxnSize(ops []Op) int {
	b, err := encodeTxn(ops)
	if err != nil {
		return MaxTxnBytes + 1 // cannot be: there is nothing in an Op that JSON lacks.
	}
	return len(b)
}

func encodeTxn(ops []Op) ([]byte, error) {
	type kv struct {
		Verb    Verb
		Key     string
		Value   []byte `json:",omitempty"`
		Index   uint64 `json:",omitempty"`
		Session string `json:",omitempty"`
	}
	body := make([]struct{ KV kv }, len(ops))
	for i, op := range ops {
		body[i].KV = kv(op)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b, nil
}

// refusal reads the answer that says which operations failed.
func refusal(ops []Op, err error) (*TxnError, bool) {
	s, ok := errors.AsType[api.StatusError](err)
	if !ok || s.Code != http.StatusConflict {
		return nil, false
	}
	var answer api.TxnResponse
	_ = json.Unmarshal([]byte(s.Body), &answer) // what cannot be read names no operation.
	e := &TxnError{}
	for _, f := range answer.Errors {
		o := OpError{Op: f.OpIndex, What: f.What}
		if f.OpIndex >= 0 && f.OpIndex < len(ops) {
			o.Key = ops[f.OpIndex].Key
		}
		e.Failed = append(e.Failed, o)
	}
	return e, len(e.Failed) > 0
}

// code tells a condition that did not hold from a token that may not, and from
// a session that is gone.
func (e *TxnError) code() mesh.Code {
	for _, f := range e.Failed {
		if strings.Contains(f.What, "Permission denied") {
			return mesh.Denied
		}
		if strings.Contains(f.What, "invalid session") {
			return mesh.NotFound
		}
	}
	return mesh.Conflict
}
