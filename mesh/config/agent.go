package config

// Agent is the configuration of `alps agent`.
type Agent struct {
	// Where the agent keeps its identity, its journal of jobs and what it has
	// not delivered yet. It must survive a restart: an agent that loses it is
	// a new node and refuses every older job.
	DataDir string `key:"data_dir,required"`

	// The name of this node. Empty means the name that the local Consul agent
	// has, which is right unless several agents share one Consul agent.
	NodeName string `key:"node_name"`

	Log

	Consul  Consul  `key:"consul"`
	Join    Join    `key:"join"`
	Exec    Exec    `key:"exec"`
	Fact    Fact    `key:"fact"`
	Check   Check   `key:"check"`
	DNS     DNS     `key:"dns"`
	Control Control `key:"control"`
}

// DefaultAgent returns the configuration of an agent whose file is empty. It
// lacks data_dir, so it is not valid yet.
func DefaultAgent() *Agent {
	return &Agent{
		Log:    defaultLog(),
		Consul: defaultConsul(),
		Exec:   defaultExec(),
		Fact:   defaultFact(),
		Check:  defaultCheck(),
		DNS:    defaultDNS(),
	}
}

// LoadAgent reads the configuration of an agent from a file, which ends in
// .hcl or .json, or from a directory of such files. The result is valid and
// complete: paths that default to a place under data_dir are filled in.
//
// The error is a *mesh.Error: Invalid when the configuration is wrong, and
// then Errors is in its chain; otherwise it says why the files could not be
// read.
func LoadAgent(path string) (*Agent, error) {
	c := DefaultAgent()
	if err := load(path, c); err != nil {
		return nil, err
	}
	return c, nil
}

// Validate checks the values. It does no I/O. The error is Errors.
func (a *Agent) Validate() error { return validate(a) }
