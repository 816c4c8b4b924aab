package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// A checker is a section with rules of its own, beyond what its tags say.
type checker interface{ check(r *report) }

// A report collects what checks find.
type report struct {
	errors Errors
	schema *schema
	// given is where each key stands, and under "" what is said of keys that
	// are absent; nil when the values come from no file.
	given map[string]place
	file  string // what errors without a place are said of.
}

// A place is where a key was given.
type place struct {
	source *source
	at     hcl.Range
}

// addf reports a value that must not be.
func (r *report) addf(key, format string, args ...any) {
	r.add(key, key+": "+fmt.Sprintf(format, args...))
}

func (r *report) add(key, message string) {
	e := Error{File: r.file, Key: key, Message: message}
	p, ok := r.given[key]
	if !ok {
		p, ok = r.given[""]
	}
	if ok {
		e = p.source.errorAt(p.at, key, message)
	}
	r.errors = append(r.errors, e)
}

// distinct reports names of a list that are empty or stand in it twice. what
// is the word for one of them.
func (r *report) distinct(key string, list []string, what string) {
	seen := make(map[string]bool)
	for _, name := range list {
		switch {
		case name == "":
			r.addf(key, `"" is no %s`, what)
		case seen[name]:
			r.addf(key, "%s %q is named twice", what, name)
		}
		seen[name] = true
	}
}

// checkTags holds a field against its tags.
func (r *report) checkTags(f *field) {
	if f.required && f.value.IsZero() {
		r.add(f.path, f.path+" is missing")
		return
	}
	switch v := f.value.Interface().(type) {
	case string:
		if _, ok := f.tag.Lookup("unset"); ok && v == "" {
			return
		}
		if words := f.words(); len(words) > 0 && !slices.Contains(words, v) {
			r.addf(f.path, "%q is not one of %s", v, strings.Join(words, ", "))
			r.errors[len(r.errors)-1].Hint = didYouMean(v, words)
		}
	case int:
		least, _ := strconv.Atoi(f.tag.Get("min"))
		most, _ := strconv.Atoi(f.tag.Get("max"))
		if v < least || v > most {
			r.addf(f.path, "%d is out of bounds: want %s", v, f.bounds())
		}
	case time.Duration:
		least, _ := time.ParseDuration(f.tag.Get("min"))
		most, err := time.ParseDuration(f.tag.Get("max"))
		switch {
		case v < least:
			r.addf(f.path, "%s is too short: want %s", durationText(v), f.bounds())
		case err == nil && v > most:
			r.addf(f.path, "%s is too long: want %s", durationText(v), f.bounds())
		}
	}
}

// validate checks values that come from no file.
func validate(root any) error {
	r := &report{schema: schemaOf(root)}
	r.all(root, nil)
	if len(r.errors) == 0 {
		return nil
	}
	return r.errors
}

// all runs every check. A key in bad has been told of already.
func (r *report) all(root any, bad map[string]bool) {
	for _, f := range r.schema.fields {
		r.checkTags(&f)
	}
	for _, c := range sectionsOf(root) {
		c.check(r)
	}
	r.errors = slices.DeleteFunc(r.errors, func(p Error) bool { return bad[p.Key] })
}
