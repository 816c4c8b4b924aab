package enroltest_test

import (
	"testing"

	"alps/server/enrol"
	"alps/server/enrol/enroltest"
)

func TestMemory(t *testing.T) {
	enroltest.Run(t, func(*testing.T) enrol.Store { return enroltest.NewMemory() })
}
