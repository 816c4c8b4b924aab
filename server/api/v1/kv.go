package v1

// MaxValue is the most bytes that a key holds: Consul's own limit.
const MaxValue = 512 << 10

// KVList is the keys right below a prefix: folders end with a slash.
type KVList struct {
	Prefix string   `json:"prefix" doc:"as it was asked for"`
	Keys   []string `json:"keys" nullable:"false" doc:"whole keys, sorted; one that ends with a slash has more below it"`
}

// KVPair is one key with its value.
type KVPair struct {
	Key     string `json:"key" doc:"the whole key"`
	Value   []byte `json:"value" doc:"in base64; empty in the answer to a write"`
	Index   uint64 `json:"index" doc:"the ModifyIndex, to be given back when it is changed"`
	Created uint64 `json:"created" doc:"the CreateIndex"`
	Session string `json:"session,omitempty" doc:"of Consul, that holds the lock on it"`
	// Protected says why the key cannot be changed here; empty: it can.
	Protected string `json:"protected,omitempty" doc:"why it cannot be changed here"`
}

// KVWrite changes one key, if it still has the index that was read.
type KVWrite struct {
	// The name of the encoding is in capitals, which mean the same, because
	// what checks the small one takes an empty value for none.
	Value  []byte `json:"value" encoding:"BASE64" doc:"in base64, at most 512 KiB; may be empty"`
	Index  uint64 `json:"index" doc:"the index that was read; 0: the key must not exist"`
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"kept in the audit"`
}

// ACLEntry is a token or a policy of Consul, without its secret.
type ACLEntry struct {
	ID          string   `json:"id" doc:"of a token its accessor, which opens nothing"`
	Name        string   `json:"name" doc:"of a token the auth method that made it, if any"`
	Description string   `json:"description,omitempty"`
	Policies    []string `json:"policies,omitempty" nullable:"false" doc:"names of a token's policies"`
	Local       bool     `json:"local,omitempty" doc:"a token that is good in this datacenter alone"`
}

// ACL is what Consul's access control holds. When Enabled is false the lists
// are empty.
type ACL struct {
	Enabled  bool       `json:"enabled" doc:"ACLs are on"`
	Tokens   []ACLEntry `json:"tokens" nullable:"false"`
	Policies []ACLEntry `json:"policies" nullable:"false"`
	Why      string     `json:"why,omitempty" doc:"why the lists cannot be read although ACLs are on"`
}
