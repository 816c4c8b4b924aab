// Package job turns a request into a job, has it announced to its nodes and
// keeps what they say about it, until every one of them has ended.
//
//	Submit ──► validate, resolve, sign ──► History ──► publisher ──► Consul KV, event
//	                                          ▲
//	Commit ◄── reports of nodes ──► ledger ───┤
//	           deadlines ─────────► ledger ───┤
//	           Cancel, Pause … ───► ledger ───┘──► Stream
//
// A job has a fixed list of targets, resolved once. Every target is in one
// state at any time and the counts over the states always sum to the list;
// what a node does not say is not guessed to be well: when its time is over
// the target becomes EXPIRED or UNKNOWN, and a later word of the node itself
// replaces that.
//
// A job is stored before it is announced: what History has taken is announced
// sooner or later, or expires. One publisher for each datacenter writes all
// that is waiting in one transaction: at once when it has been idle, else
// every 250 ms. It remembers the epoch and the sequence of each head; a head
// that is older than that means that Consul was restored, and everything that
// is still open is then announced again in a new epoch.
//
// A caller inside the server may choose a job's id and a Fence, a lock that
// must be held: the job is then announced by the holder alone and at most
// once, in one transaction with a look at the lock.
//
// The ledger is one goroutine that alone changes stored jobs. It takes what
// is waiting, writes it in one transaction and only then tells anybody. What
// ends a target is stored before Commit returns. Progress (ACKED, QUEUED,
// RUNNING) is shown at once and stored within half a second: a server that is
// killed forgets some progress and never an end.
//
// It must not import any other server package; what it needs of them it
// declares as Resolver, Board, Stream and Asker. Storage is History: package
// jobtest holds one in memory and the suite for every other.
package job
