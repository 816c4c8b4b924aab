package check_test

import (
	"maps"
	"slices"

	"alps/mesh"
)

// sorted is how the inventory orders the checks of a node.
func sorted(byID map[string]mesh.Check) []mesh.Check {
	out := make([]mesh.Check, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out = append(out, byID[id])
	}
	return out
}
