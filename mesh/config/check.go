package config

// Check says which checks an agent runs.
type Check struct {
	// A directory, or one file, of definitions of services and checks:
	// docs/definitions.md. When it does not exist the agent has none of its
	// own.
	Dir string `key:"dir,reload" under:"checks.d"`

	// How many checks run at the same time.
	Concurrency int `key:"concurrency,reload" min:"1" max:"256"`

	// The packs of checks that come with ALPS. Each looks at the node for what
	// it knows and runs only there; an empty list turns all of them off.
	Packs []string `key:"packs,reload"`
}

func defaultCheck() Check {
	return Check{
		// A hundred checks of a second each, every ten seconds, need ten. A
		// few that hang until their timeout leave the others room, and a node
		// that is in trouble is not loaded further.
		Concurrency: 8,
		// What every node has. A pack that has nothing to look at costs
		// nothing.
		Packs: []string{"host", "consul", "hdfs"},
	}
}

func (c *Check) check(r *report) {
	r.distinct("check.packs", c.Packs, "pack")
}
