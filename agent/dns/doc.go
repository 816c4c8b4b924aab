// Package dns answers names on every node: nodes, services and addresses from
// a view of the zone that servers keep up to date, everything else from the
// machine's other name servers.
//
//	                 UDP, one socket a core         TCP
//	                          │                      │
//	                          ▼ parse                ▼
//	hit: copy, patch ◄──── table of packed answers   │     no allocation
//	                          │ miss                 │
//	                          ▼                      ▼
//	pack ◄──────────────── resolve ◄── view (zone.Zone)    no remote call
//	                          │ not ours        ▲
//	       ┌──────────────────┤                 └── Apply ◄── frame.Zone
//	       ▼                  ▼                 └── disk, at start
//	upstreams, raced     the local Consul agent, by name,
//	                     while no server is linked
//
// What is asked for and found:
//
//	<node>.node[.<dc>].<domain>                        A, AAAA
//	[<tag>.]<service>.service[.<dc>].<domain>          A, AAAA, SRV
//	_<service>._<tag or tcp>[.service][.<dc>].<domain> the same
//	<hex>.addr[.<dc>].<domain>                         A, AAAA
//	<node>                                             A, AAAA, with BareNames
//	<address>.in-addr.arpa, <address>.ip6.arpa         PTR
//	<domain>                                           SOA, NS
//	age.alps.<domain>                                  TXT: how old the view is
//
// The view is immutable behind an atomic pointer. An answer is packed when it
// is first asked for, in several orders when it has several records, and kept
// until the view changes; a query that hits copies it and writes its own id,
// its own spelling of the name and its DO bit into the copy. The table is
// bounded in slots and in bytes.
//
// While nobody keeps the view up to date it is answered from all the same: a
// stale address is more useful than none. Such answers live for 5 seconds at
// most and say so (extended error 3).
//
// The package writes and reads the wire format itself: what it has to say is
// eight types of records, and it has to count bytes to cut answers. Its tests
// read with miekg/dns, so that no mistake is made twice.
//
// It imports mesh and mesh/zone, and neither another agent package nor
// anything of server.
package dns
