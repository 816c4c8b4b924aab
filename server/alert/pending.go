package alert

import "time"

// Pending counts the problems that a rule is about to open an incident for:
// their checks are bad now, and have not been for long enough. Those whose last
// incident was opened at since or later are not among them. It says something
// while this server leads.
func (e *Engine) Pending(rule string, since time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for k := range e.wakes.at {
		if rec := e.records[k]; k.rule == rule && (rec == nil || rec.Opened.Before(since)) {
			n++
		}
	}
	return n
}
