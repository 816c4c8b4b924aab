// Package remedytest helps to test remediation: a remedy.Store in memory, and
// the suite that every other one must pass.
//
//	func TestRemedyStore(t *testing.T) {
//		remedytest.TestStore(t, func(t *testing.T) remedy.Store { return open(t) })
//	}
//
// Nothing but tests imports it.
package remedytest
