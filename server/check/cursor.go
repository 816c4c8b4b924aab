package check

import (
	"cmp"
	"net/url"
	"strings"

	"alps/mesh"
)

// cursor is the last check of a page. As text it is "<dc>/<node>/<id>", the
// first two escaped: a catalog that was written by hand may hold any name.
type cursor struct {
	place

	id string
}

func (c cursor) String() string {
	return url.PathEscape(c.dc) + "/" + url.PathEscape(string(c.name)) + "/" + c.id
}

// parseCursor reads a cursor. What is none stands for some place in the list:
// there is nothing in it to be protected from.
func parseCursor(text string) cursor {
	dc, rest, _ := strings.Cut(text, "/")
	name, id, _ := strings.Cut(rest, "/")
	return cursor{place{unescape(dc), mesh.NodeName(unescape(name))}, id}
}

func unescape(s string) string {
	if out, err := url.PathUnescape(s); err == nil {
		return out
	}
	return s
}

func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(c.dc, d.dc), cmp.Compare(c.name, d.name), cmp.Compare(c.id, d.id))
}
