// Package api answers the CLI and the browser over HTTPS: JSON documents
// (package v1), one stream of events, one OpenAPI document that describes
// them, and errors as RFC 9457 problems with the codes and hints of
// mesh.Error.
//
//	recover → request id → log → body limit → cross-origin → auth → permission → handler
//	   │                    │                                 │         │           │
//	  500               Debug; writes and               Actor in the   row of     service
//	                    refusals Info                     context     routes.go   interface
//
// Every route is one row in routes.go: method, path, the role that it needs,
// what a token's scope means for it, and under which action it is audited. A
// path without a row does not exist. To add an endpoint, write its documents
// in v1, its handler beside those of its noun, its row, its method in package
// client; the test that compares testdata/openapi.json then shows what has
// become public (go test ./server/api -update accepts it).
//
// What it serves it takes by the interfaces in services.go, which wire binds;
// it knows the documents, not what is behind them. It must not import the
// packages that own the nouns (job, cmdb, enrol), a store, or the agent.
package api
