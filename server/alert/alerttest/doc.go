// Package alerttest holds what a test of server/alert, of its storage and of
// whoever uses it needs: a Store in memory, and the suite that every Store
// must pass.
package alerttest
