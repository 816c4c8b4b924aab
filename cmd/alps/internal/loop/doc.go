// Package loop is what tests and benchmarks of the closed loop stand on: a
// real cluster with the demo service, a receiver of webhooks on a socket, and
// questions to the agents' DNS.
//
//	r := loop.Start(t, loop.Options{Rules: loop.Rules})
//	r.Web(node).Kill()
//	r.AwaitDNS(t, from, "web.service.yixia", without...)
//	i := r.AwaitIncident(t, "closed", func(i mesh.Incident) bool { return i.Status == mesh.IncidentClosed })
//
// The program under test is built from the tree, once for all tests of a run.
// It must not be imported by what ships.
package loop
