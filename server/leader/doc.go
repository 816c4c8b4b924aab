// Package leader elects the one of several servers that acts: opens incidents,
// tells people, runs remedies. It is a lock of Consul with a lease clock of our
// own, because a lock alone is no fence: a server that was stopped for a minute
// goes on believing that it holds it.
//
//	l, err := leader.New(leader.Options{Sessions: c, Lock: c, TTL: 10 * time.Second, …})
//	…
//	err = l.Run(ctx)                     // competes, renews, watches.
//
//	term, err := l.Await(ctx)            // engines begin here
//	if term, ok := l.Held(); ok { … }    // and ask again before each effect,
//	<-l.Deposed()                        // until another server leads.
//
//	           lock taken               5 s before the TTL of the last
//	standby ──────────────► leading ──────────────────────────────────► lapsed
//	   ▲                       ▲  ▲       renewal is over                 │ │
//	   │                       │  └─────── renewed, or taken again ───────┘ │
//	   └──── another holds it ─┴────────────────────────────────────────────┘
//
// A lease is counted from when the renewal that confirmed it was sent, by the
// monotonic clock and by the wall clock, whichever has gone further: neither a
// process that was stopped nor a machine that was suspended comes back as a
// leader. While the lease has lapsed and nobody else has taken the lock the
// server is the incumbent still: engines keep what they know and only effects
// wait.
//
// What a server does outside of Consul is fenced by Term.Index, which grows
// from term to term; what it writes in Consul goes with a check of
// Term.Session. That covers the one gap which a clock cannot: an operator who
// deletes the key, or the session, of a server that is well.
//
// The package must not import any other server package.
package leader
