package jobtest_test

import (
	"testing"

	"alps/server/job"
	"alps/server/job/jobtest"
)

func TestHistory(t *testing.T) {
	jobtest.TestHistory(t, func(*testing.T) job.History { return &jobtest.History{} })
}
