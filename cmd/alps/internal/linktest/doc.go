// Package linktest holds no code but tests: those of both ends of the link
// together, which agent and server, who never import each other, cannot hold.
//
//	agent/link.Link ──real TLS over loopback──► server/link.Server ──► a recorder
//
// Nothing imports it.
package linktest
