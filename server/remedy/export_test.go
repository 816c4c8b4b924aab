package remedy

import "context"

// Turn is one turn of Run, so that a test decides when the next one is.
func (e *Engine) Turn(ctx context.Context) error { return e.turn(ctx) }
