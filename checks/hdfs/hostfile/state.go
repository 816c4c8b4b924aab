package hostfile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"alps/mesh"
)

// change is a state other than NORMAL. One that expires at enough or later
// stays as it is.
type change struct {
	state           string
	expires, enough int64 // Unix milliseconds; zero: never.
}

// addState gives the target a state.
func addState(old []byte, t Target, c change) ([]byte, error) {
	l, err := parse(old)
	if err != nil {
		return nil, err
	}
	at := l.matching(t)
	for _, i := range at {
		switch o := l.objects[i]; {
		case o.state == c.state && (c.expires == 0 || o.expires >= c.enough):
			return old, nil
		case o.state == stateDecommissioned:
			return nil, mesh.Errorf(mesh.Conflict, "%s is to leave for good", o.entry).WithHint("alps hdfs recommission %s", t.Entry)
		}
	}
	if len(at) == 0 {
		return l.appended(t.Entry, c), nil
	}
	// One that is in a special state already is the one to change.
	which := at[0]
	for _, i := range at {
		if l.objects[i].state != stateNormal {
			which = i
		}
	}
	if l.objects[which].state == stateNormal && l.normals() == 1 {
		return nil, mesh.Errorf(mesh.Conflict, "%s is the last one that is NORMAL: without it every DataNode that is not listed would be let in", l.objects[which].entry)
	}
	return l.restated(which, c)
}

// removeState takes every special state of the target back.
func removeState(old []byte, t Target) ([]byte, error) {
	for {
		l, err := parse(old)
		if err != nil {
			return nil, err
		}
		at := slices.DeleteFunc(l.matching(t), func(i int) bool { return l.objects[i].state == stateNormal })
		switch {
		case len(at) == 0:
			return old, nil
		case l.normals() > 0:
			if old, err = l.restated(at[0], change{state: stateNormal}); err != nil {
				return nil, err
			}
		default:
			old = l.without(at[0])
		}
	}
}

// appended is the text with one more entry, which begins as the first one does.
func (l *hostList) appended(e Entry, c change) []byte {
	name, _ := json.Marshal(e.Host) // a valid host is a plain word.
	text := fmt.Sprintf(`{"%s": %s`, keyHost, name)
	if e.Port != 0 {
		text += fmt.Sprintf(`, "%s": %d`, keyPort, e.Port)
	}
	text += fmt.Sprintf(`, "%s": "%s"`, keyState, c.state)
	if c.expires != 0 {
		text += fmt.Sprintf(`, "%s": %d`, keyExpires, c.expires)
	}
	text += "}"
	if len(l.objects) == 0 {
		return l.splice(span{l.open, l.open}, text)
	}
	lead := string(l.text[l.open:l.objects[0].at.start])
	end := l.objects[len(l.objects)-1].at.end
	return l.splice(span{end, end}, ","+lead+text)
}

// without is the text without entry i and the comma that goes with it.
func (l *hostList) without(i int) []byte {
	at := l.objects[i].at
	switch {
	case i > 0:
		at.start = l.objects[i-1].at.end
	case len(l.objects) > 1:
		at.end = l.objects[1].at.start
	}
	return l.splice(at, "")
}

// restated is the text in which entry i has the state, and the expiry or none.
func (l *hostList) restated(i int, c change) ([]byte, error) {
	next, err := parse(l.set(i, keyState, strconv.Quote(c.state)))
	if err != nil {
		return nil, err
	}
	if c.expires != 0 {
		return next.set(i, keyExpires, strconv.FormatInt(c.expires, 10)), nil
	}
	return next.unset(i, keyExpires), nil
}

// set gives a key of entry i a value; one that is not there comes last.
func (l *hostList) set(i int, key, value string) []byte {
	o := l.objects[i]
	for _, m := range o.members {
		if m.key == key {
			return l.splice(m.value, value)
		}
	}
	end := o.members[len(o.members)-1].at.end // there is a hostName at least.
	return l.splice(span{end, end}, fmt.Sprintf(`, "%s": %s`, key, value))
}

// unset takes a key away from entry i, if it is there.
func (l *hostList) unset(i int, key string) []byte {
	o := l.objects[i]
	n := slices.IndexFunc(o.members, func(m member) bool { return m.key == key })
	if n < 0 {
		return l.text
	}
	at := o.members[n].at
	switch {
	case n > 0:
		at.start = o.members[n-1].at.end
	case len(o.members) > 1:
		at.end = o.members[1].at.start
	}
	return l.splice(at, "")
}

// splice is the text with something else in the place of a span.
func (l *hostList) splice(at span, with string) []byte {
	return slices.Concat(l.text[:at.start], []byte(with), l.text[at.end:])
}
