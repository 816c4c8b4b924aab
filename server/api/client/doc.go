// Package client speaks to an ALPS server: the CLI, the tests and the
// benchmarks use it.
//
//	c, err := client.New(client.Options{Address: "10.0.0.7:8443", Token: token, CAFile: "ca.pem"})
//	…
//	sub, err := c.Submit(ctx, v1.JobRequest{Target: "role=web", Command: []string{"uptime"}})
//	for e, err := range c.Events(ctx, []string{"job/" + string(sub.Job.ID)}, "") { … }
//
// Its methods carry the names of the interfaces in package api, and its errors
// are the *mesh.Error that the server meant, so that code in front of a client
// reads like code in front of the service. What goes wrong on the way (nobody
// listens, an unknown CA, no answer in time) is mesh.Unavailable, in words for
// an operator, with a hint.
//
// It links no HTTP framework and must not import package api, only the
// documents in v1: the CLI starts with it.
package client
