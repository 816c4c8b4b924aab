package remedytest_test

import (
	"testing"

	"alps/server/remedy"
	"alps/server/remedy/remedytest"
)

func TestMemory(t *testing.T) {
	remedytest.TestStore(t, func(*testing.T) remedy.Store { return new(remedytest.Memory) })
}
