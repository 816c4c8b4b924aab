package mesh

import "time"

// Setting is one value of a node's configuration, and the key that it comes
// from: of all keys alps/config/{global,dc/<dc>,role/<role>,node/<name>}/<name>
// the nearest wins.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"` // the whole key.
	// Over are the keys that would be next, nearest first.
	Over []string `json:"over,omitempty"`
}

// Session is a session of Consul on a node: what locks are held with.
type Session struct {
	ID        string        `json:"id"`
	Name      string        `json:"name,omitempty"`
	Node      NodeName      `json:"node"`
	TTL       time.Duration `json:"ttl,omitempty"`
	LockDelay time.Duration `json:"lock_delay,omitempty"`
	Behavior  string        `json:"behavior"` // release or delete.
	Checks    []string      `json:"checks,omitempty"`
}
