// Package wire puts an agent and a server together from their configuration.
// It is the only place that names concrete adapters: everything below declares
// the small interface that it needs, and here it is given one.
//
// Read NewServer and NewAgent top to bottom: each is one straight line in the
// order of dependency. Where two packages do not fit each other as they are,
// an adapter of a few lines stands in a file of its own.
package wire
