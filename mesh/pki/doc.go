// Package pki is the certificate authority of one cluster: it makes the CA,
// signs what agents and servers show each other, and says what a certificate
// means.
//
//	alps tls init ──► CA (10 years)
//	                   ├─ server certificate (90 days)  alps://prod/server/<id>   DNS server.alps
//	                   └─ agent certificate  (30 days)  alps://prod/agent/<id>
//
// A certificate names its holder in exactly one URI: the cluster, the kind
// and the NodeID. A peer is believed by the CA, the kind and the cluster
// alone. Addresses and host names play no part: they come from a catalog
// that anybody with a Consul token may write to. That is why every server
// certificate also carries the fixed DNS name server.alps, which is what
// agents ask the standard library to verify.
//
// An agent makes its own key and sends a request (NewRequest); the CA takes
// nothing but the public key out of it. A newcomer that has no CA yet pins it
// by the fingerprint in its join token (JoinToken, JoinTLS).
//
// Revocation is a question asked at every handshake, resumed ones included,
// and answered by a function that the caller gives to ServerTLS.
//
// The package imports the standard library and mesh, opens no connection and
// keeps no state but files that it is told to write.
package pki
