// Package zone is what ALPS answers names from: nodes and services as plain
// values, cut into buckets that two sides can compare, and the documents by
// which a server brings an agent's copy up to date. It knows nothing of DNS
// packets: server/zone builds a Zone, agent/dns packs answers from one.
//
//	server/zone                              agent/dns
//	  Build(nodes, services) ─► Zone           Decode(disk) ─► Zone
//	                             ▲                              │
//	            DecodeHave ◄─────┼──── frame.Have ◄──── Have.Encode
//	  Zone.Diff(have) ─► Update ─┤
//	  Between(old, new) ─► Update┘
//	            Split ─► frame.Zone … ─► Stage.Add ─► Zone.Apply ─► Zone
//
// A Zone is a set of entries, each a key and an encoded value, spread over 256
// buckets by the hash of the key:
//
//	n/<dc>/<node>            a node: its addresses
//	s/<dc>/<service>         a service: its instances, or the first part of them
//	s/<dc>/<service>/<part>  further parts of a large service
//
// Names in keys are in lower case. Each bucket has a digest, the sum of the
// hashes of its entries, so an agent that comes back asks by 256 numbers and
// gets the buckets that differ, whichever server built them. A service of many
// instances is cut into parts by the hash of the instance, so that one
// instance that changes moves a few kilobytes and not the service.
//
// A Zone is immutable: Apply returns another one that shares what did not
// change, and readers need no lock. Values stay encoded until they are asked
// for: 5,000 nodes with three services each take about a megabyte.
//
// The package imports mesh and the standard library, reads no clock and opens
// no connection.
package zone
