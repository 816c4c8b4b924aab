package hostfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"alps/mesh"
)

// The states of a JSON file that are written here.
const (
	stateNormal         = "NORMAL"
	stateDecommissioned = "DECOMMISSIONED"
	stateMaintenance    = "IN_MAINTENANCE"
)

// states are all that Hadoop can read. It takes any other word for the end of
// the list, and the list for empty.
func knownState(s string) bool {
	return slices.Contains([]string{stateNormal, stateDecommissioned, stateMaintenance, "DECOMMISSION_INPROGRESS", "ENTERING_MAINTENANCE"}, s)
}

// The keys of an object.
const (
	keyHost    = "hostName"
	keyPort    = "port"
	keyDomain  = "upgradeDomain"
	keyState   = "adminState"
	keyExpires = "maintenanceExpireTimeInMS"
)

// span is where something stands in the text.
type span struct{ start, end int }

// member is one key of an object, from its quote to the end of its value.
type member struct {
	key   string
	at    span
	value span
}

// object is one entry of the file.
type object struct {
	at      span
	members []member
	entry   Entry
	state   string
	expires int64
}

// hostList is a JSON file with the places of everything in it, so that what
// changes is cut out of the text and the rest is not touched.
type hostList struct {
	text    []byte
	open    int // behind the [.
	objects []object
}

// parse reads a whole file. What Hadoop would refuse, or read otherwise than it
// looks, is an error: a key that is there twice, an unknown state, text behind
// the end.
func parse(text []byte) (*hostList, error) {
	if !utf8.Valid(text) {
		return nil, broken(0, errors.New("it is not UTF-8"))
	}
	l := &hostList{text: text}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	tok, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty; a list without hosts is []")
	}
	if err != nil {
		return nil, broken(d.InputOffset(), err)
	}
	if tok != json.Delim('[') {
		return nil, broken(d.InputOffset(), errors.New("want a list of objects: [{\"hostName\": …}]"))
	}
	l.open = int(d.InputOffset())
	for d.More() {
		o, err := l.object(d)
		if err != nil {
			return nil, broken(d.InputOffset(), err)
		}
		l.objects = append(l.objects, o)
	}
	if _, err := d.Token(); err != nil {
		return nil, broken(d.InputOffset(), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, broken(d.InputOffset(), errors.New("something stands behind the end of the list"))
	}
	return l, nil
}

func broken(at int64, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = errors.New("it ends too early")
	}
	return mesh.Errorf(mesh.Invalid, "read the JSON host file, byte %d: %w", at, err).
		WithHint("mend the file first: Hadoop takes a broken one for an empty list")
}

// object reads one entry. The decoder stands before it.
func (l *hostList) object(d *json.Decoder) (object, error) {
	o := object{state: stateNormal}
	tok, err := d.Token()
	if err != nil {
		return o, err
	}
	if tok != json.Delim('{') {
		return o, fmt.Errorf("entry %d is not an object", len(l.objects)+1)
	}
	o.at.start = int(d.InputOffset()) - 1
	named := false
	for d.More() {
		m, err := l.member(d)
		if err != nil {
			return o, err
		}
		if slices.ContainsFunc(o.members, func(x member) bool { return x.key == m.key }) {
			return o, fmt.Errorf("entry %d has %q twice", len(l.objects)+1, m.key)
		}
		o.members = append(o.members, m)
		if err := o.take(m, l.text[m.value.start:m.value.end]); err != nil {
			return o, fmt.Errorf("entry %d: %w", len(l.objects)+1, err)
		}
		named = named || m.key == keyHost
	}
	if _, err := d.Token(); err != nil {
		return o, err
	}
	o.at.end = int(d.InputOffset())
	if !named {
		return o, fmt.Errorf("entry %d has no %s", len(l.objects)+1, keyHost)
	}
	return o, nil
}

func (l *hostList) member(d *json.Decoder) (member, error) {
	tok, err := d.Token()
	if err != nil {
		return member{}, err
	}
	key, ok := tok.(string)
	if !ok {
		return member{}, fmt.Errorf("want a key, got %v", tok)
	}
	m := member{key: key}
	// The key's text may be longer than the key: it may have escapes.
	end := int(d.InputOffset())
	for m.at.start = end - 2; m.at.start > 0; m.at.start-- {
		if l.text[m.at.start] == '"' && !escaped(l.text, m.at.start) {
			break
		}
	}
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return m, err
	}
	m.value.end = int(d.InputOffset())
	m.value.start = m.value.end - len(raw)
	m.at.end = m.value.end
	return m, nil
}

// escaped reports whether an odd number of backslashes stands before i.
func escaped(text []byte, i int) bool {
	n := 0
	for i > 0 && text[i-1] == '\\' {
		i, n = i-1, n+1
	}
	return n%2 == 1
}

// take keeps what is known of a member.
func (o *object) take(m member, value []byte) error {
	var err error
	switch m.key {
	case keyHost:
		err = json.Unmarshal(value, &o.entry.Host)
		if err == nil && o.entry.Host == "" {
			err = errors.New("it is empty")
		}
	case keyPort:
		err = json.Unmarshal(value, &o.entry.Port)
		if err == nil && (o.entry.Port < 0 || o.entry.Port > 65535 || string(value) == "null") {
			err = fmt.Errorf("%s is no port", value)
		}
	case keyState:
		o.state = ""
		err = json.Unmarshal(value, &o.state)
		if err == nil && !knownState(o.state) {
			err = fmt.Errorf("no state of Hadoop is called %s", value)
		}
	case keyExpires:
		o.expires, err = strconv.ParseInt(string(value), 10, 64)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.key, err)
	}
	return nil
}

// Unknown lists the keys of a JSON file that Hadoop does not know, each once. A
// file with one is an empty list for it, as 3.4.3 was seen to do, so a NameNode
// must not be told to read it.
func Unknown(b []byte) ([]string, error) {
	l, err := parse(b)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, o := range l.objects {
		for _, m := range o.members {
			if !slices.Contains([]string{keyHost, keyPort, keyDomain, keyState, keyExpires}, m.key) && !slices.Contains(out, m.key) {
				out = append(out, m.key)
			}
		}
	}
	return out, nil
}

// matching are the places of the entries that mean the target.
func (l *hostList) matching(t Target) []int {
	var at []int
	for i := range l.objects {
		if t.has(l.objects[i].entry) {
			at = append(at, i)
		}
	}
	return at
}

// normals is how many entries say NORMAL.
func (l *hostList) normals() int {
	n := 0
	for i := range l.objects {
		if l.objects[i].state == stateNormal {
			n++
		}
	}
	return n
}
