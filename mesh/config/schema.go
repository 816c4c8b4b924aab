package config

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A field is one key: where it lies and what its tags say. The tags are
//
//	key:"slots,reload"     its name; required, reload and secret may follow.
//	oneof:"auto off"       the words that it may be.
//	min:"1" max:"256"      bounds of a number or a duration.
//	under:"agent.sock"     the path under data_dir that it has when it is empty.
//	also:"url"             other names of it.
//	unset:""               how the reference shows that it is zero.
type field struct {
	path     string // "exec.slots"; a key at the top has no dot.
	section  string // "exec", or "" at the top.
	owner    string // the name of the struct that holds it.
	name     string // the name of the struct's field.
	value    reflect.Value
	tag      reflect.StructTag
	required bool
	reload   bool
	secret   bool
}

// key is the name of the field in its section.
func (f *field) key() string { return strings.TrimPrefix(f.path, f.section+".") }

// A schema is the fields of a configuration, in the order of their structs.
type schema struct {
	fields   []field
	byPath   map[string]*field
	sections map[string]bool
}

// schemaOf walks the configuration that root points to. The values of the
// fields are those of root: setting one sets it there.
func schemaOf(root any) *schema {
	return schemaUnder(root, "")
}

// schemaUnder is schemaOf for the keys of one section.
func schemaUnder(root any, section string) *schema {
	s := &schema{byPath: make(map[string]*field), sections: make(map[string]bool)}
	s.walk(reflect.ValueOf(root).Elem(), section)
	for i := range s.fields {
		s.byPath[s.fields[i].path] = &s.fields[i]
	}
	return s
}

func (s *schema) walk(v reflect.Value, section string) {
	for t, value := range v.Fields() {
		key, flags, _ := strings.Cut(t.Tag.Get("key"), ",")
		switch {
		case t.Anonymous:
			s.walk(value, section)
			continue
		case t.Type.Kind() == reflect.Struct:
			s.sections[key] = true
			s.walk(value, key)
			continue
		}
		path := key
		if section != "" {
			path = section + "." + key
		}
		s.fields = append(s.fields, field{
			path: path, section: section, owner: v.Type().Name(), name: t.Name,
			value: value, tag: t.Tag,
			required: strings.Contains(flags, "required"),
			reload:   strings.Contains(flags, "reload"),
			secret:   strings.Contains(flags, "secret"),
		})
	}
}

// sectionsOf returns the structs of a configuration that check themselves,
// with the root first.
func sectionsOf(root any) []checker {
	var got []checker
	add := func(v reflect.Value) {
		if c, ok := reflect.TypeAssert[checker](v.Addr()); ok {
			got = append(got, c)
		}
	}
	v := reflect.ValueOf(root).Elem()
	add(v)
	for _, f := range v.Fields() {
		if f.Kind() == reflect.Struct {
			add(f)
		}
	}
	return got
}

// Key describes one key of a configuration, for help and for the reference.
type Key struct {
	Path    string // as in a file: "exec.slots".
	Type    string // what it holds, in words.
	Default string // as one would write it; "" when there is none.
	Bounds  string // which values are allowed, in words; "" for any.
	// Required, Reload and Secret: it must be given; a reload takes a change
	// of it; its value is not shown.
	Required, Reload, Secret bool
	// Struct and Field name the Go field that it is decoded into.
	Struct, Field string
}

// Describe lists the keys of a configuration in the order of their structs, with
// the values that root has as defaults.
func Describe[C Agent | Server](root *C) []Key {
	return describe(schemaOf(root))
}

func describe(s *schema) []Key {
	var keys []Key
	for _, f := range s.fields {
		keys = append(keys, Key{
			Path: f.path, Type: f.typeName(), Default: f.defaultText(), Bounds: f.bounds(),
			Required: f.required, Reload: f.reload, Secret: f.secret,
			Struct: f.owner, Field: f.name,
		})
	}
	return keys
}

func (f *field) typeName() string {
	switch f.value.Interface().(type) {
	case string:
		if f.tag.Get("under") != "" {
			return "path"
		}
		return "string"
	case bool:
		return "true or false"
	case int:
		return "whole number"
	case time.Duration:
		return "duration"
	case words:
		return "string or list of strings"
	case commandLine:
		return "list of strings, or a line"
	case table:
		return "names with texts"
	case headers:
		return "names with texts or lists"
	default:
		return "list of strings"
	}
}

func (f *field) defaultText() string {
	if text, ok := f.tag.Lookup("unset"); ok && f.value.IsZero() {
		return text
	}
	if under := f.tag.Get("under"); under != "" && f.value.String() == "" {
		return "<data_dir>/" + under
	}
	switch v := f.value.Interface().(type) {
	case string:
		if v == "" {
			return ""
		}
		return strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case time.Duration:
		return strconv.Quote(durationText(v))
	case []string:
		return "[" + quotedList(v) + "]"
	case words:
		return "[" + quotedList(v) + "]"
	default:
		return ""
	}
}

func (f *field) bounds() string {
	if words := f.words(); len(words) > 0 {
		return strings.Join(words, ", ")
	}
	least, most := f.tag.Get("min"), f.tag.Get("max")
	switch {
	case least != "" && most != "":
		return least + " to " + most
	case least != "":
		return "at least " + least
	default:
		return ""
	}
}

func (f *field) words() []string { return strings.Fields(f.tag.Get("oneof")) }

// durationText is how people write d: 5m, not 5m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
