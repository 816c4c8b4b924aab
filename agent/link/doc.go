// Package link is an agent's end of the link: it enrols the node, keeps one
// connection to one of the servers, and delivers what the rest of the agent
// has to say, at least once and in order, however often either side restarts.
//
//	Enrol ──► DataDir/identity/{node.pem, ca.pem, node_id, …}
//	                   │
//	Send ──► spool ──► Run: find ─► dial ─► hello ─► send ⇄ ack
//	                                          │
//	Options.Handlers ◄── want, config … ◄─────┘      HTTP(): bodies, by request
//
// Send returns when the message is in the spool; whether a server is there
// does not matter to the caller. A server says Ack when it has committed, and
// only then does the spool forget.
//
//	l, err := link.New(link.Options{
//		Identity: id, SpoolDir: dir, Servers: link.Fixed("10.0.0.5:8781"),
//		Handlers: map[frame.Kind]link.Handler{frame.Want: uploads.Handle},
//	})
//	go l.Run(ctx)
//	err = l.Send(frame.Exec, report, true)
//
// Servers are tried in an order that the NodeID decides (rendezvous hash), so
// that nodes spread over them and stay where they are when one goes. After a
// server has gone away, nodes come back over up to half a minute, the longer the
// more there are, not at once.
//
// A server tells the highest term of a leader that it has heard of. One that
// is behind what this node has heard within ten minutes is refused: it has
// been cut off, and does not know it.
//
// The package imports mesh and no other agent package; it never imports
// server.
package link
