package datadirs

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"path"
	"strings"

	"alps/mesh"
)

// property is what is edited.
const property = "dfs.datanode.data.dir"

// value is where the text of the property stands in a file.
type value struct{ start, end int }

// find returns the place of the property's value. There must be one, in a form
// in which it can be edited without changing what it means.
func find(text []byte) (value, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	var (
		f     finder
		found []value
	)
	for {
		before := int(d.InputOffset())
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return value{}, mesh.Errorf(mesh.Invalid, "it cannot be read: %w", err)
		}
		if v, ok := f.take(tok, before, int(d.InputOffset())); ok {
			found = append(found, v)
		}
	}
	switch {
	case len(found) != 1:
		return value{}, mesh.Errorf(mesh.Invalid, "want %s in it once, got it %d times", property, len(found))
	case found[0].start == 0:
		return value{}, mesh.Errorf(mesh.Invalid, "%s is not written as <name>…</name><value>…</value>", property)
	case bytes.ContainsAny(text[found[0].start:found[0].end], "<&"):
		return value{}, mesh.Errorf(mesh.Invalid, "the value of %s has XML in it, which is not edited", property)
	}
	return found[0], nil
}

// finder goes through the tokens of a file.
type finder struct {
	path []string // of the open elements.
	name strings.Builder
	at   value
	attr bool // the property names itself in an attribute.
}

// take looks at a token that reaches from before to after. It returns the
// place of the value at the end of the property; one that starts at 0 has none.
func (f *finder) take(tok xml.Token, before, after int) (value, bool) {
	const depth = 3 // configuration, property, name or value.
	switch tok := tok.(type) {
	case xml.StartElement:
		f.path = append(f.path, tok.Name.Local)
		switch {
		case len(f.path) == depth-1:
			f.name.Reset()
			f.at, f.attr = value{}, false
			for _, a := range tok.Attr {
				f.attr = f.attr || a.Name.Local == "name" && strings.TrimSpace(a.Value) == property
			}
		case len(f.path) == depth && tok.Name.Local == "value":
			f.at = value{after, after}
		}
	case xml.CharData:
		if len(f.path) == depth && f.path[depth-1] == "name" {
			f.name.Write(tok)
		}
	case xml.EndElement:
		at := len(f.path)
		f.path = f.path[:at-1]
		switch {
		case at == depth && tok.Name.Local == "value":
			f.at.end = before
		case at == depth-1 && tok.Name.Local == "property":
			if f.attr {
				return value{}, true
			}
			return f.at, strings.TrimSpace(f.name.String()) == property
		}
	}
	return value{}, false
}

// item is a word of a value and the path that it means. Where nobody can tell
// that, the word stands for itself.
type item struct{ text, path string }

// items are the words of a value.
func items(value string) []item {
	var all []item
	for w := range strings.SplitSeq(value, ",") {
		if w = strings.TrimSpace(w); w != "" {
			all = append(all, item{w, pathOf(w)})
		}
	}
	return all
}

// pathOf is the directory of a word such as [SSD]file:///data/1.
func pathOf(whole string) string {
	word := whole
	if strings.HasPrefix(word, "[") {
		_, after, _ := strings.Cut(word, "]")
		word = strings.TrimSpace(after)
	}
	if u, err := url.Parse(word); err == nil && u.Scheme == "file" && u.Host == "" {
		word = u.Path
	}
	if !path.IsAbs(word) || strings.Contains(word, "${") {
		return whole
	}
	return path.Clean(word)
}

// join writes items as a value.
func join(all []item) string {
	words := make([]string, len(all))
	for i, it := range all {
		words[i] = it.text
	}
	return strings.Join(words, ",")
}
