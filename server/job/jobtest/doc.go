// Package jobtest helps to test jobs: a History in memory, a Board in memory
// that can be made to conflict, to vanish and to go back in time, and the
// suite that every History must pass.
//
//	func TestHistory(t *testing.T) {
//		jobtest.TestHistory(t, func(t *testing.T) job.History { return open(t) })
//	}
//
// Nothing but tests imports it.
package jobtest
