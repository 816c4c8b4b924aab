// Package checktest has what tests of checks on a node stand on: Consul, a
// local Consul agent in memory, and the suite that it passes and that every
// other check.Catalog has to pass as well.
//
//	c := checktest.New()
//	e, err := check.New(check.Options{Catalog: c, Local: c.Local, …})
//	c.SetAway(true)
//	…
//	c.Check("web:tcp") // what Consul shows of it.
//
// The package imports agent/check and mesh. It is for tests alone.
package checktest
