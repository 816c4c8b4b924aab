package config

import "time"

// Zone says how long names outlive what they are for.
type Zone struct {
	// How long the name of a node stays after both Consul's gossip and its
	// ALPS agent have lost it. One that left goes at once.
	NodeHold time.Duration `key:"node_hold" min:"0s" max:"1h"`

	// How long the services of a node whose ALPS agent is lost stay as they
	// were, while Consul's gossip says that the node lives.
	AgentLostHold time.Duration `key:"agent_lost_hold" min:"0s" max:"24h"`
}

func defaultZone() Zone {
	return Zone{
		// A rebooting switch is back by then; clients retry for longer.
		NodeHold: 30 * time.Second,
		// An agent that is upgraded, or crashed, is not a failed service.
		// Ten minutes is time for somebody to look.
		AgentLostHold: 10 * time.Minute,
	}
}
