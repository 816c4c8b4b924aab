package alerttest

import (
	"testing"

	"alps/server/alert"
)

func TestMemory(t *testing.T) {
	TestStore(t, func(*testing.T) alert.Store { return new(Store) })
}
