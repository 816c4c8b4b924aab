package config

// Keys names the keys with which jobs are signed. Without them the server
// still takes jobs, if an operator signs each with a key of their own.
type Keys struct {
	// The public key of the trust root. Agents get it when they enrol.
	Root string `key:"root"`

	// The server's own private key.
	ServerKey string `key:"server_key"`

	// What the root allows the server's key to sign.
	Grant string `key:"grant"`

	// The newest list of revoked grants, as the root has signed it. It is read
	// again at every reload; a file that is not there revokes nothing.
	Revoked string `key:"revoked,reload"`
}

func (k *Keys) check(r *report) {
	if k.ServerKey != "" && k.Grant == "" {
		r.addf("keys.server_key", "the key is worth nothing without a grant: set keys.grant")
	}
	if k.Grant != "" && k.ServerKey == "" {
		r.addf("keys.grant", "the grant is for a key: set keys.server_key")
	}
	if k.ServerKey != "" && k.Root == "" {
		r.addf("keys.server_key", "no agent would believe it without the root: set keys.root")
	}
}
