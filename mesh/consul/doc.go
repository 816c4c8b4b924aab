// Package consul is how ALPS speaks to Consul: the KV store, transactions,
// user events, sessions and locks, members, the catalog, health, network
// coordinates, and services and checks of the local agent. It is the only
// package that imports Consul's own client, so that what Consul costs is
// decided in one place.
//
//	c, err := consul.New(consul.Options{Address: "127.0.0.1:8500"})
//	pair, meta, err := c.Get(ctx, "alps/exec/head/3", consul.Query{})
//	c.In("sh-w-01")                     // the same, asking another datacenter.
//
// Everything that follows a value uses the one loop there is, Watch:
//
//	consul.Watch(ctx, consul.WatchOptions{Kick: lookNow},
//		func(ctx context.Context, q consul.Query) (*consul.Pair, consul.Meta, error) {
//			return c.Get(ctx, "alps/exec/head/3", q)
//		},
//		func(p *consul.Pair, m consul.Meta) { ... })
//
//	          ┌── bucket: so many reads a second, with jitter
//	          ▼
//	read, blocking on the last index ──► changed? ──► fn(value, meta)
//	  ▲       │ error: back off              │ index went back: read anew,
//	  │       ▼ Report(err), once            │ meta.Reset
//	  └───────┴──────────────────────────────┘
//
// Reads are stale unless asked otherwise: any server answers, so a lost
// leader stops writes and not reads.
//
// An error that the caller's context did not cause is a mesh.Error that names
// the agent that was asked: Unavailable when it is away or has no leader,
// Denied when the token does not allow it, Conflict when somebody else was
// first.
//
// The package does not log. It must not import anything of ALPS but mesh; no
// type of Consul's client appears in an exported signature.
package consul
