package config

// Control is the local door to an agent, for `alps doctor` and the like.
type Control struct {
	// The Unix socket that the agent answers on. Who may open the file may
	// ask; nobody can change anything through it.
	Socket string `key:"socket" under:"agent.sock"`
}

// maxSocketPath is what fits into a Unix socket address on Linux (108 bytes
// with the closing zero).
const maxSocketPath = 107

func (c *Control) check(r *report) {
	if len(c.Socket) > maxSocketPath {
		r.addf("control.socket", "the path has %d bytes, a Unix socket allows %d: choose a shorter one", len(c.Socket), maxSocketPath)
	}
}
