// Package auth decides who may ask: it makes API tokens, checks them, and
// says who stands behind a request.
//
//	alps.3f9c2a71.kQ3v…      Authenticate      Actor{Name, Role, Scope}
//	   id        secret  ───────────────────►  in the request's context
//	                     hash, constant time
//
// A token has one role (viewer < operator < admin) and a scope: a query over
// nodes, "all" by default. What a role may do is a row in server/api; what a
// scope hides is applied there too. A secret is shown once, when the token is
// made; the Store keeps its SHA-256 only. The secrets are 256 random bits, so
// a slow hash would add nothing.
//
// A server that finds no working administrator makes one at its start and
// writes its token to admin.token in the data directory, readable by the
// owner alone. That is also the way back in when every administrator is lost:
// delete nothing, restart the server.
//
// Storage is the Store that this package declares; package authtest holds an
// implementation in memory and the suite that every other one must pass.
//
// It must not import any other server package, nor speak HTTP.
package auth
