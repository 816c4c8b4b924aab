// Package dispatch holds the documents that carry a job through Consul's KV
// store, and the payload of the user event that says "look now". It encodes,
// decodes and bounds them; it reads and writes nothing itself.
//
// All keys lie under alps/exec/:
//
//	head/<shard>         Head: the newest references of one shard   CAS
//	log/<shard>/<n>      Segment: references that have left a head  once
//	job/<id>/<a>/spec    sign.Envelope around a mesh.Spec           once
//	job/<id>/<a>/to/<s>  Part: the targets of one shard             once
//	job/<id>/<a>/ctl     sign.Envelope around a Ctl                 CAS
//
// <a> is the attempt. A node watches the head of its own shard and nothing
// else: whatever concerns it, a job or a change of a job's ctl, is announced
// there as a Ref.
//
//	server                        Consul                     node
//	  │ txn: spec, parts, heads ───► KV ──── head/<shard> ────► │
//	  │ fire: user event alps  ───► gossip ── "look now" ─────► │
//
// Sequences are given out by the writers of heads: one counter for all shards
// of a datacenter, so that the sequence in an event can be compared with the
// one in any head that it names. A head keeps the newest HeadRefs references;
// Head.Append moves the oldest into a Segment, and Head.Prev remembers the
// sequence of the last one that left, so that a node knows whether anything
// lies between its cursor and the head.
//
// It must not import Consul, nor anything of agent or server.
package dispatch
