// Package exectest plays everything that an exec engine has around it: the
// board in Consul, the server that signs and announces jobs, the link that
// takes reports, and a runner that starts no process.
//
//	board := exectest.NewBoard()
//	clerk := exectest.NewClerk(board, "lab", exectest.AnyScope())
//	spec := clerk.Spec(node)
//	err := clerk.Publish(spec)
//	...
//	last := reports.Last(spec.Job)
//
// The fakes lose, delay and forget when they are told to, and work inside a
// testing/synctest bubble. They must not be used outside tests.
package exectest
