package config

import (
	"slices"
	"strings"
	"time"
)

// The values of Exec.Enabled.
const (
	ExecAuto = "auto" // run jobs as soon as a trust root is installed.
	ExecOff  = "off"  // run no job, whatever is signed.
)

// Exec says which jobs an agent runs, and how many.
type Exec struct {
	// auto runs jobs when a trust root is installed and none before that. off
	// runs none.
	Enabled string `key:"enabled" oneof:"auto off"`

	// The public key that everything an agent runs is signed under, in the
	// end. It comes with enrolment or is put there by hand, never by Consul.
	TrustRoot string `key:"trust_root" under:"identity/root.pub"`

	// The users that a job may run as. Empty means the user that the agent
	// itself runs as.
	RunAs []string `key:"run_as,reload"`

	// Variables that every job finds in its environment, such as
	// HADOOP_CONF_DIR. A job that brings its own wins.
	Env table `key:"env,reload"`

	// How many jobs run at the same time.
	Slots int `key:"slots,reload" min:"1" max:"256"`

	// How many jobs wait for a slot. One more is refused, which the job's
	// owner sees at once.
	Queue int `key:"queue" min:"1" max:"4096"`

	// How long the whole output of a job stays on the node, for reading after
	// the part that travels with the result.
	OutputKeep time.Duration `key:"output_keep" min:"1m"`

	// The directory under which each job gets an empty directory to work in.
	WorkDir string `key:"workdir" under:"work"`
}

func defaultExec() Exec {
	return Exec{
		Enabled: ExecAuto,
		// Enough that one stuck job does not stop the others, few enough that
		// a storage node keeps its cores for storage.
		Slots: 4,
		// A burst of jobs from a script fits; a runaway loop is refused.
		Queue: 64,
		// Long enough to ask the morning after what a night's job said.
		OutputKeep: 24 * time.Hour,
	}
}

func (e *Exec) check(r *report) {
	if slices.Contains(e.RunAs, "") {
		r.addf("exec.run_as", `"" is no user`)
	}
	for _, name := range sortedKeys(e.Env) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(e.Env[name], 0) {
			r.addf("exec.env", "%q is not a variable", name)
		}
	}
}
