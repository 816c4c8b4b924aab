// Package apitest starts a real API server on a loopback port, with TLS, in
// front of an estate in memory: nodes that a test lists, jobs that run
// nowhere. Tests of the API, of its client and of the CLI use it.
//
//	e := apitest.Start(t)
//	e.SetNodes(apitest.Node("web1", "web"), apitest.Node("db1", "db"))
//	c := e.Client(t, auth.Operator, "role=web")
//
// It is for tests only; the product must not import it.
package apitest
