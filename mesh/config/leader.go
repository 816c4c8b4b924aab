package config

import (
	"strings"
	"time"
)

// Leader says how several servers agree on the one that runs rules and
// policies.
type Leader struct {
	// The key in Consul that the leader holds a lock on.
	Key string `key:"key"`

	// How long a leader that is not heard of stays leader. It stops five
	// seconds before that by its own clock.
	TTL time.Duration `key:"ttl" min:"10s" max:"1h"`
}

func defaultLeader() Leader {
	return Leader{
		// Under alps/, which the server's token may write.
		Key: "alps/leader",
		// The least that Consul takes: a dead leader is replaced within
		// seconds.
		TTL: 10 * time.Second,
	}
}

func (l *Leader) check(r *report) {
	if l.Key == "" || strings.HasPrefix(l.Key, "/") || strings.HasSuffix(l.Key, "/") {
		r.addf("leader.key", "%q is not a key: want a path without a slash at its ends, such as alps/leader", l.Key)
	}
}
