// Package enrol decides who becomes a node: it checks join tokens, makes
// NodeIDs, has their certificates signed, and keeps the list of those that
// were revoked.
//
//	join token ──► Enrol ──► NodeID + 30-day certificate ──► Renew … Renew
//	                 │                                          ▲
//	                 └─ evidence (machine id, DMI UUID, host)   └─ not after Revoke
//
// A NodeID is random; what a machine says about itself is evidence, compared
// with what earlier nodes said and noted where it repeats, because cloned
// images share all of it and a machine that lost its disk repeats it
// honestly. Enrolling is safe to repeat: the same key with the same token
// gets the same NodeID again, so an answer lost on the way costs nothing.
//
// Storage is the Store that this package declares; package enroltest holds
// an implementation in memory and the suite that every other one must pass.
//
// It must not import any other server package, nor open a connection.
package enrol
