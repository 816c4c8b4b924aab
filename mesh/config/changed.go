package config

import (
	"reflect"
	"strings"

	"alps/mesh"
)

// Change is a key that has another value in a new configuration.
type Change struct {
	Key    string // the path, such as "exec.slots".
	Reload bool   // whether a reload takes it; otherwise it needs a restart.
}

// String names the key, and says when it needs a restart.
func (c Change) String() string {
	if c.Reload {
		return c.Key
	}
	return c.Key + " (needs a restart)"
}

// Changes are all keys that differ between two configurations, in the order of
// the reference.
type Changes []Change

// Changed compares two valid configurations.
func Changed[C Agent | Server](before, after *C) Changes {
	var changes Changes
	old, now := schemaOf(before).fields, schemaOf(after).fields
	for i, f := range now {
		if !sameValue(old[i].value, f.value) {
			changes = append(changes, Change{Key: f.path, Reload: f.reload})
		}
	}
	return changes
}

// sameValue compares the values of two fields; a list that is not given is an
// empty list.
func sameValue(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// Refused returns the error with which a reload is refused as a whole because
// some of the changes need a restart, or nil when it can take them all.
func (cs Changes) Refused() error {
	var keys []string
	for _, c := range cs {
		if !c.Reload {
			keys = append(keys, c.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return mesh.Errorf(mesh.Conflict, "reload configuration: a change of %s needs a restart", strings.Join(keys, ", ")).
		WithHint("restart the service, or put the old values back and reload again")
}
