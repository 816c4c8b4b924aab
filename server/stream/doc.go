// Package stream carries what changes on the server to those who watch: the
// CLI that follows a job, the browser that shows a table.
//
//	job, cmdb, alert ── Publish ──► Hub [ring of the newest events]
//	                                  ▲ Next        ▲ Next
//	                              Subscription  Subscription   (one per client)
//
// Events get rising ids, "<boot>-<n>", where boot is new with each start of
// the server. All subscribers see the same order, the order of Publish. There
// is one rule for a client: when an event of type Reset comes, read the state;
// every other event is a change to the state that was read after the last
// Reset.
//
// A Reset comes first when the client brings no id, an id of another boot, or
// one that the ring has left behind; it also comes in the middle to a client
// that is so slow that the ring overruns it. Between two Resets no event is
// missing and none comes twice.
//
// Publish never waits for anybody: subscribers read from the ring at their own
// pace and hold no buffer, so a slow one costs nothing and is told when it has
// missed something. The hub has no goroutine of its own.
//
// It must not import any other server package, nor speak HTTP.
package stream
