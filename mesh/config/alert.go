package config

import "time"

// Alert says which problems become incidents.
type Alert struct {
	// A directory, or one file, of rules, receivers and policies:
	// docs/definitions.md. When it does not exist there are none.
	Dir string `key:"dir,reload" under:"rules.d"`

	// A problem that comes back within this time after its incident was closed
	// opens the same incident again.
	Reopen time.Duration `key:"reopen" min:"0s" max:"24h"`

	// How long an agent may be silent before it is lost. Whatever it checks is
	// unknown from then on, which is one incident and not one for each check.
	AgentLost time.Duration `key:"agent_lost" min:"5s" max:"1h"`
}

func defaultAlert() Alert {
	return Alert{
		// Longer than a restart that did not help, shorter than the time after
		// which people call it another problem.
		Reopen: 10 * time.Minute,
		// As long as Consul waits for the agent's own check.
		AgentLost: 30 * time.Second,
	}
}
