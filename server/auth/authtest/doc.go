// Package authtest proves implementations of auth.Store: Run holds the rules
// that each must keep, and Memory is the one that tests use.
//
//	func TestTokens(t *testing.T) {
//		authtest.Run(t, func(t *testing.T) auth.Store { return open(t) })
//	}
//
// It is for tests only; the product must not import it.
package authtest
