// Package v1 holds the documents of version 1 of the HTTP API: what a request
// and an answer look like as JSON. Package api answers with them and package
// client reads them; /v1/openapi.json describes them.
//
// They are plain values with tags. Fields may be added; none is renamed, taken
// away or given another meaning without a version 2. Where a noun of mesh is
// already a good document (Node, Check, Incident, Audit) it is used as it is.
// Times are RFC 3339 in UTC and left out when they are zero; bytes are base64.
//
// Durations that a client sends are whole seconds, and say so. Those within
// the nouns of mesh are nanoseconds, as Go writes them: took and period of a
// check's result; for of a Rule; timeout of a Receiver; timeout, verify,
// cooldown and storm_window of a Policy; ttl and lock_delay of a Session.
//
// The doc, enum and limit tags are for the OpenAPI document. Nothing here
// imports what reads them: the CLI starts with this package linked in.
package v1
