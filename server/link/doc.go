// Package link accepts the agents of a cluster: one TCP port, mutual TLS, and
// behind it either the link or plain HTTPS, told apart by ALPN.
//
//	                    ┌─ alps-link/1 ─► hello ─► one goroutine per link ─► Consumer.Commit ─► ack
//	:8781 ─► handshake ─┤                                ▲
//	                    │                                └─ Send, Disconnect
//	                    └─ http/1.1 ────► /v1/enrol  /v1/renew  /v1/output/…  /v1/blob/…
//
// What an agent sends is numbered; what is already readable is taken together
// and handed, one kind at a time, to the Consumer of that kind, and only when
// it has committed do we acknowledge. A Consumer may therefore see a message
// twice and must be idempotent; the package drops the repetitions that it
// remembers. Messages of one node come in order and never two calls at once,
// across reconnections too.
//
// An idle link costs one goroutine and no buffers: a server holds thousands.
//
//	s, err := link.New(link.Options{
//		Listener: ln, CA: ca.Certificate(), Certificate: cert, Revoked: enrolment.Revoked,
//		Consumers: map[frame.Kind]link.Consumer{frame.Exec: jobs, frame.Fact: cmdb},
//	})
//	…
//	err = s.Run(ctx)
//
// Who may enrol, where outputs lie and what messages mean is for others: this
// package declares the interfaces (Consumer, Enroller, Bodies) and imports no
// other server package.
package link
