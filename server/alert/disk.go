package alert

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// same returns the open incident of another problem on the node of k that names
// one of the disks, nil when there is none. Of several it is one that k has
// joined, or else the oldest. mended is when a good result has closed one that k
// had joined; zero: none has lately.
func (d *draft) same(k key, disks []string) (found *Record, mended time.Time) {
	if len(disks) == 0 {
		return nil, mended
	}
	if d.named == nil {
		d.named = make(map[place][]key)
		for k := range d.e.records {
			d.index(k, d.record(k))
		}
	}
	me := mesh.JoinedProblem{Rule: k.rule, Check: k.check}
	for _, other := range d.named[place{k.dc, k.node}] {
		switch r := d.record(other); {
		case other == k || r == nil || len(common(disks, r.Disks)) == 0:
		case r.open() && (found == nil || before(r, found, me)):
			found = r
		case !r.open() && r.Health == mesh.HealthPassing && slices.Contains(r.Joined, me) && r.Closed.After(mended):
			mended = r.Closed
		}
	}
	return found, mended
}

func before(a, b *Record, j mesh.JoinedProblem) bool {
	if in := slices.Contains(a.Joined, j); in != slices.Contains(b.Joined, j) {
		return in
	}
	return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID)) < 0
}

// index notes that the incident of a problem names disks, once somebody has
// asked for that. One that is closed may have left others behind.
func (d *draft) index(k key, r *Record) {
	at := place{k.dc, k.node}
	if d.named != nil && (r.open() || len(r.Joined) > 0) && len(r.Disks) > 0 && !slices.Contains(d.named[at], k) {
		d.named[at] = append(d.named[at], k)
	}
}

// join tells, in the incident of a disk, of another problem of that disk: once,
// and to nobody but those of its rule who do not know of the incident yet. It
// changes nothing that it was given.
func join(rec *Record, l *look) outcome {
	var o outcome
	o.Record = *rec
	me := mesh.JoinedProblem{Rule: l.rule.Name, Check: l.state.Result.Check}
	if slices.Contains(rec.Joined, me) {
		return o
	}
	o.Record.Joined = append(slices.Clone(rec.Joined), me)
	o.Record.Told = slices.Clone(rec.Told)
	if severity(l.rule.Severity) > severity(rec.Severity) {
		o.Record.Severity = l.rule.Severity
	}
	text := describeAs(&l.state, ofDisks(l.state.Result.Disks, rec.Disks))
	o.Events = append(o.Events, mesh.IncidentEvent{
		At: stored(l.now), Kind: mesh.EventCheck, Actor: self, Text: text, Data: map[string]string{"rule": l.rule.Name},
	})
	o.touch(l.now)
	var fresh []string
	for _, n := range l.rule.Notify {
		if !slices.Contains(rec.Told, n) {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) > 0 {
		o.tell(l.now, DeliveryFiring, text, fresh)
	}
	return o
}

// severity orders severities.
func severity(s string) int {
	return slices.Index([]string{SeverityInfo, SeverityWarning, SeverityCritical}, s)
}

// ofDisks says which of a problem's disks an incident names too, and which not.
func ofDisks(disks, known []string) string {
	both := common(disks, known)
	text := ", of the same disk " + strings.Join(both, ", ")
	if rest := slices.DeleteFunc(slices.Clone(disks), func(d string) bool { return slices.Contains(both, d) }); len(rest) > 0 {
		text += " and of " + strings.Join(rest, ", ")
	}
	return text
}

func common(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(d string) bool { return !slices.Contains(b, d) })
}

// disks follows the disks that the check of an open incident names, and says
// when there is another one. One that is bad and names none has not mended them.
func (o *outcome) disks(l *look) {
	was, is := o.Record.Disks, l.state.Result.Disks
	if len(is) == 0 || slices.Equal(was, is) {
		return
	}
	o.Record.Disks = is
	o.touch(l.now)
	more := slices.DeleteFunc(slices.Clone(is), func(d string) bool { return slices.Contains(was, d) })
	if len(more) > 0 && !o.Record.Flapping {
		o.line(l, mesh.EventCheck, "it is about the disk "+strings.Join(more, ", ")+" too")
	}
}

// release has everything looked at again when incidents are closed that told of
// other problems: those that are still bad open their own.
func (e *Engine) release(list []*outcome) {
	for _, o := range list {
		if !o.Record.open() && len(o.Record.Joined) > 0 {
			e.full = time.Time{}
			e.inbox.ring()
			return
		}
	}
}
