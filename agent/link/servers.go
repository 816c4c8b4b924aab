package link

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"alps/mesh"
)

// maxTried is how many servers are tried before a pause: the node's own and
// two fallbacks.
const maxTried = 3

// Fixed returns a finder of a list that never changes.
func Fixed(addrs ...string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) { return addrs, nil }
}

// rank orders servers by rendezvous hash: each node has an order of its own,
// and the loss of a server moves only the nodes that were on it. The list is
// not changed; doubles are left out.
func rank(id mesh.NodeID, addrs []string) []string {
	score := func(addr string) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(string(id) + "\x00" + addr))
		// FNV leaves the last bytes in the low bits; mix them into all.
		x := h.Sum64()
		x ^= x >> 32
		x *= 0x9e3779b97f4a7c15
		return x ^ x>>29
	}
	out := slices.Clone(addrs)
	slices.Sort(out)
	out = slices.Compact(out)
	slices.SortStableFunc(out, func(a, b string) int {
		switch sa, sb := score(a), score(b); {
		case sa > sb:
			return -1
		case sa < sb:
			return 1
		}
		return 0
	})
	return out[:min(len(out), maxTried)]
}

// ending is how a try to hold a link ended, as far as it matters for when to
// try again.
type ending int

const (
	neverBegan ending = iota // no server could be reached.
	broke                    // the link broke, on our side or in between.
	serverLeft               // the server closed it: so it did for all others.
	refused                  // the server does not want this node, as it is.
)

const (
	// DefaultSpread is over how long nodes come back when a server has gone,
	// and the longest: that of 5,000 nodes, or of nobody knows how many.
	DefaultSpread = 30 * time.Second
	// spreadPerNode is what one node more adds: its handshake costs the server
	// 1 ms of CPU, which has other things to do as well.
	spreadPerNode = DefaultSpread / 5000
	// minSpread keeps a handful of nodes from knocking all the time.
	minSpread = time.Second
	// quick is what one broken link waits at most: nobody else is coming.
	quick = time.Second
)

// spreadOf is over how long nodes come back when there are so many of them; 0
// is not known.
func spreadOf(nodes int) time.Duration {
	if nodes <= 0 || nodes >= int(DefaultSpread/spreadPerNode) {
		return DefaultSpread
	}
	return max(minSpread, time.Duration(nodes)*spreadPerNode)
}

// pause chooses how long to wait before the next try. failures counts the
// tries in a row that never began.
func pause(how ending, failures int, spread time.Duration) time.Duration {
	most := min(quick, spread)
	switch how {
	case serverLeft:
		return rand.N(spread) + 1
	case refused:
		return spread + rand.N(spread)
	case broke:
		return rand.N(most) + 1
	case neverBegan:
		for range failures {
			most = min(2*most, spread)
		}
	}
	return rand.N(most) + most/10 + 1
}
