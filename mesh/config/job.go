package config

import "time"

// Job holds the limits of jobs that say nothing else.
type Job struct {
	// How long a job may run on one node before it is stopped there.
	Timeout time.Duration `key:"timeout" min:"1s"`

	// How long after it was submitted a job may still start. A node that
	// comes back later does not run it.
	Expiry time.Duration `key:"expiry" min:"1m"`

	// How many nodes one job may have.
	MaxTargets int `key:"max_targets" min:"1" max:"100000"`
}

func defaultJob() Job {
	return Job{
		// Longer than a careful disk check, shorter than a forgotten one.
		Timeout: 2 * time.Hour,
		// Who submits a job expects it now, not after a weekend's repair.
		Expiry: time.Hour,
		// Four datacenters at Consul's own rule of 5,000 agents each.
		MaxTargets: 20_000,
	}
}
