package dispatch

import (
	"encoding/json"
	"fmt"

	"alps/mesh"
)

// Phase is what an operator wants of a job.
type Phase string

// The phases. Pause keeps nodes from starting and stops nothing; cancel is
// final.
const (
	PhaseRun    Phase = "run"
	PhasePause  Phase = "pause"
	PhaseCancel Phase = "cancel"
)

// Ctl steers one attempt of a job while it is open. Like a Spec it is signed
// as sent: whoever can only write to KV can neither start nor stop anything.
type Ctl struct {
	Cluster string     `json:"cluster"`
	Job     mesh.JobID `json:"job"`
	Attempt int        `json:"attempt"`
	// Gen rises with every change: a node follows the highest that it has
	// verified and ignores the rest.
	Gen   int   `json:"gen"`
	Phase Phase `json:"phase"`
	// Wave is the highest wave that may start.
	Wave int `json:"wave"`
}

// DecodeCtl reads the payload of a verified Ctl envelope.
func DecodeCtl(b []byte) (Ctl, error) {
	var c Ctl
	if err := json.Unmarshal(b, &c); err != nil {
		return Ctl{}, fmt.Errorf("decode ctl: %w", err)
	}
	switch c.Phase {
	case PhaseRun, PhasePause, PhaseCancel:
	default:
		return Ctl{}, fmt.Errorf("decode ctl: unknown phase %q", c.Phase)
	}
	if c.Gen < 1 || c.Wave < 0 || c.Attempt < 1 {
		return Ctl{}, fmt.Errorf("decode ctl: generation %d, wave %d, attempt %d", c.Gen, c.Wave, c.Attempt)
	}
	return c, nil
}
