// Package notify tells people about incidents: it empties the outbox.
//
//	server/alert ── incident + deliveries, one transaction ──► Outbox (the store)
//	     │ Kick                                                   │ ▲
//	     ▼                                       waiting, by seq  ▼ │ delivered, with a line
//	  Engine ── a lane per receiver ── at most 4 sends at once ── Sender ──► webhook, command
//
// # What is promised
//
// A delivery is sent until the receiver has taken it, and never again once
// that is recorded: also over restarts and changes of leader. Between taking
// and recording lies a moment in which a server can die; then it is sent once
// more under the same id, by which a receiver can tell. Deliveries of one
// incident to one receiver go in order, each after the one before is settled;
// incidents and receivers do not wait for one another.
//
// What the receiver says decides:
//
//	taken     2xx, exit status 0            recorded, a line in the timeline
//	refused   4xx but 408 and 429, exit 65  recorded as failed, not tried again
//	failed    anything else                 again after 1 s, 2 s, … 60 s, or Retry-After, for 24 h
//
// A receiver that fails is left alone for a while as a whole, and then asked
// with one delivery at a time until it takes one. A reminder that something
// newer follows is not sent. A delivery for a receiver that is no longer
// configured waits; it goes out when the receiver is back within its 24 h.
//
// Nothing is sent without the lease, which is asked for again right before
// each send; the exception is what says that Consul is away (see
// server/alert).
//
// # Webhook
//
// A POST of the JSON of Document, with the header
//
//	Alps-Delivery: 4f1c0b6a9d2e8357/3
//
// which names the delivery for ever, and the receiver's own headers. Redirects
// are not followed, certificates are verified, and what is answered is not
// read beyond 64 KiB. Neither headers nor the path of the URL appear in an
// error: both may be secrets.
//
// # Command
//
// The same JSON on stdin, its main fields as ALPS_STATUS, ALPS_INCIDENT,
// ALPS_RULE, ALPS_SEVERITY, ALPS_SUMMARY, ALPS_NODE, ALPS_DC, ALPS_CHECK,
// ALPS_SERVICE, ALPS_KIND, ALPS_TEXT, ALPS_DELIVERY and ALPS_URL, beside PATH
// and HOME; nothing else of the server's environment. It runs in a process
// group of its own, which is ended when the receiver's timeout has passed.
//
// The package imports mesh alone. It must not import server/alert: they meet
// in the store.
package notify
