package check

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"alps/mesh"
)

// The limits of what an agent may say. They are far above what people define,
// and keep one broken agent from filling a server.
const (
	// MaxChecks is how many checks one node may have.
	MaxChecks = 2000
	// maxID and maxText are in bytes: of an id, and of a name or a note.
	maxID   = 256
	maxText = 4 << 10
	// maxSamples is how many numbers one result may carry.
	maxSamples = 256
)

// agent is what an agent has said by the link. It outlives links, not the
// server.
type agent struct {
	node   *node // where it is; nil until the inventory says.
	boot   string
	newest time.Time // of all results' At, by the node's clock.
	last   time.Time // when it last said anything, by ours.
	full   bool      // it has told all of its checks once.
	checks map[string]*heard
}

// heard is the newest result of one check.
type heard struct {
	result *mesh.CheckResult // never changed.
	at     time.Time         // by our clock.
	// missed is when a full report did not have it; zero: it is in all.
	missed time.Time
}

const (
	// partsWithin is how close the parts of a full report come that is too long
	// for one message.
	partsWithin = 5 * time.Second
	// fullGrace is how long what a full report lacks may still come: an agent
	// that has just started tells of a check when it has run.
	fullGrace = 45 * time.Second
)

// validate checks a report against the limits.
func validate(r *mesh.CheckReport) error {
	if len(r.Results) > MaxChecks || len(r.Gone) > MaxChecks {
		return mesh.Errorf(mesh.Invalid, "a report of %d results and %d removals: at most %d checks are kept for a node",
			len(r.Results), len(r.Gone), MaxChecks)
	}
	for _, id := range r.Gone {
		if err := validID(id); err != nil {
			return err
		}
	}
	for i := range r.Results {
		if err := validResult(&r.Results[i]); err != nil {
			return err
		}
	}
	return nil
}

func validID(id string) error {
	if id == "" || len(id) > maxID || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		return mesh.Errorf(mesh.Invalid, "%.40q is no id of a check", id)
	}
	return nil
}

func validResult(r *mesh.CheckResult) error {
	if err := validID(r.Check); err != nil {
		return err
	}
	for _, h := range []mesh.Health{r.Status, r.Hard} {
		switch h {
		case "", mesh.HealthUnknown, mesh.HealthPassing, mesh.HealthWarning, mesh.HealthCritical:
		default:
			return mesh.Errorf(mesh.Invalid, "a result of check %q is %.20q, which is no status", r.Check, string(h))
		}
	}
	if len(r.Name) > maxText || len(r.Service) > maxText || len(r.Notes) > maxText {
		return mesh.Errorf(mesh.Invalid, "a result of check %q has a name, service or note of over %d bytes", r.Check, maxText)
	}
	if len(r.Samples) > maxSamples {
		return mesh.Errorf(mesh.Invalid, "a result of check %q has %d samples: at most %d are taken", r.Check, len(r.Samples), maxSamples)
	}
	if !slices.Equal(r.Disks, mesh.Disks(r.Disks)) {
		return mesh.Errorf(mesh.Invalid, "a result of check %q names %d disks: want at most %d, sorted and each once, by printable names",
			r.Check, len(r.Disks), mesh.MaxDisks)
	}
	return nil
}

// room returns mesh.Invalid when the agent would have too many checks. It
// counts what is gone in the end as gone.
func (a *agent) room(reports []mesh.CheckReport) error {
	total := len(a.checks)
	for i := range reports {
		total += len(reports[i].Results)
	}
	if total <= MaxChecks {
		return nil
	}
	ids := make(map[string]bool, total)
	for id, h := range a.checks {
		ids[id] = h.missed.IsZero()
	}
	for i := range reports {
		r := &reports[i]
		if r.Full {
			clear(ids)
		}
		for j := range r.Results {
			ids[r.Results[j].Check] = true
		}
		for _, id := range r.Gone {
			delete(ids, id)
		}
	}
	if len(ids) > MaxChecks {
		return mesh.Errorf(mesh.Invalid, "a node with %d checks: at most %d are kept", len(ids), MaxChecks).
			WithHint("look at what defines them on the node")
	}
	return nil
}

// take lets a report in and returns the checks that it says something new of;
// false when all of it is old.
func (a *agent) take(boot string, r *mesh.CheckReport, now time.Time) (touched []string, taken bool) {
	a.last = now
	fresh, ok := a.enter(boot, r)
	if !ok {
		return nil, false
	}
	if r.Full {
		a.full = true
		for id, h := range a.checks {
			if fresh || now.Sub(h.at) > partsWithin {
				h.missed = now
				touched = append(touched, id)
			}
		}
	}
	for i := range r.Results {
		res := normal(&r.Results[i])
		if res.Check == mesh.AgentCheck || res.Check == mesh.SerfCheck {
			continue // that is for servers to find out.
		}
		if res.At.After(a.newest) {
			a.newest = res.At
		}
		if h := a.checks[res.Check]; h != nil && !fresh && res.Seq <= h.result.Seq {
			if res.Seq == h.result.Seq {
				// Every link begins with what the checks say still.
				h.result, h.at, h.missed = &res, now, time.Time{}
				touched = append(touched, res.Check)
			}
			continue
		}
		a.checks[res.Check] = &heard{result: &res, at: now}
		touched = append(touched, res.Check)
	}
	for _, id := range r.Gone {
		delete(a.checks, id)
	}
	return touched, true
}

// enter decides which run of the agent a report is from. What is left of an
// earlier run comes first on a link, but a broken link can bring it again when
// the later run has been heard already. Boots grow; one that does not is new
// all the same when it speaks of a later time: the agent has lost its spool.
// fresh is true for the first report of a run: its numbers begin again.
func (a *agent) enter(boot string, r *mesh.CheckReport) (fresh, ok bool) {
	switch {
	case boot == a.boot:
		return false, true
	case boot > a.boot:
	default:
		later := false
		for i := range r.Results {
			later = later || r.Results[i].At.After(a.newest)
		}
		if !later {
			return false, false
		}
	}
	a.boot = boot
	for _, h := range a.checks {
		// Every number of the new run is newer than all of the old one.
		res := *h.result
		res.Seq = 0
		h.result = &res
	}
	return true, true
}

// normal brings a result into the form in which it is kept.
func normal(r *mesh.CheckResult) mesh.CheckResult {
	res := *r
	if res.Status == "" {
		res.Status = mesh.HealthUnknown
	}
	if res.Hard == "" {
		res.Hard = mesh.HealthUnknown
	}
	if len(res.Output) > mesh.MaxCheckOutput {
		res.Output, res.Truncated = res.Output[:mesh.MaxCheckOutput], true
	}
	res.Output = strings.ToValidUTF8(res.Output, "")
	res.Name = strings.ToValidUTF8(res.Name, "")
	if res.Name == "" {
		res.Name = res.Check
	}
	if res.Period <= 0 {
		res.Period = defaultPeriod
	}
	res.Period = min(res.Period, maxPeriod)
	return res
}

// defaultPeriod is for results that do not say when the next is due, and
// maxPeriod the longest that is believed.
const (
	defaultPeriod = time.Minute
	maxPeriod     = 30 * 24 * time.Hour
)
