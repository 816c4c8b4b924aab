package check

import (
	"cmp"
	"strings"

	"alps/mesh"
)

// cursor is the last check of a page. As text it is "<dc>/<node>/<id>": the
// first two hold no slash, the id may.
type cursor struct {
	place

	id string
}

func (c cursor) String() string { return c.dc + "/" + string(c.name) + "/" + c.id }

func parseCursor(text string) cursor {
	dc, rest, _ := strings.Cut(text, "/")
	name, id, _ := strings.Cut(rest, "/")
	return cursor{place{dc, mesh.NodeName(name)}, id}
}

func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(c.dc, d.dc), cmp.Compare(c.name, d.name), cmp.Compare(c.id, d.id))
}
