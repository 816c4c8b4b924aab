package zone

import (
	"fmt"
	"slices"
	"time"
)

const (
	// shrinkWithin is the time in which losses are added up.
	shrinkWithin = time.Minute
	// shrinkHold is how long what has vanished is kept at most: Consul that
	// says the same for so long means it.
	shrinkHold = 10 * time.Minute
	// guarded is how many names, or instances, a zone has to have.
	guarded = 10
)

// loss is what the zone has lost for no known reason, and when.
type loss struct {
	at               time.Time
	nodes, instances int
}

// guard reports whether what the nodes have lost for no known reason is to be
// kept, and counts it when it is not. See the package's documentation.
func (b *Builder) guard(changed map[*host]bool, now time.Time) (keep bool) {
	b.losses = slices.DeleteFunc(b.losses, func(l loss) bool { return now.Sub(l.at) >= shrinkWithin })
	next := loss{at: now}
	for h := range changed {
		if h.patience(now) {
			node, instances := h.lost()
			next.nodes += node
			next.instances += len(instances)
		}
	}
	if next.nodes+next.instances == 0 {
		return true // nothing is at stake.
	}
	sum := next
	for _, l := range b.losses {
		sum.nodes += l.nodes
		sum.instances += l.instances
	}
	// The size is that of a minute ago: of what is there, and what went.
	if tooMuch(sum.nodes, b.counts.nodes+sum.nodes-next.nodes) || tooMuch(sum.instances, b.counts.instances+sum.instances-next.instances) {
		if !b.told {
			b.told = true
			b.log.Warn("the inventory has lost a third of the zone within a minute; names are kept", "nodes", sum.nodes, "instances", sum.instances)
		}
		return true
	}
	b.losses = append(b.losses, next)
	if b.told {
		b.told = false
		b.log.Info("the zone follows the inventory again")
	}
	return false
}

func tooMuch(lost, size int) bool { return size >= guarded && 3*lost > size }

// patience reports whether the guard may still keep what the node has lost.
func (h *host) patience(now time.Time) bool {
	return h.heldFrom.IsZero() || now.Sub(h.heldFrom) < shrinkHold
}

// lost returns what is published and no longer offered, for no known reason.
func (h *host) lost() (node int, instances []instance) {
	if h.pub.node != nil && h.want.node == nil && !h.want.sureNode {
		node = 1
	}
	for i := range h.pub.instances {
		in := &h.pub.instances[i]
		if !h.want.find(in.key) && !h.want.sure[in.key] {
			instances = append(instances, *in)
		}
	}
	return node, instances
}

// keeping returns what the node offers together with what it has lost.
func (h *host) keeping(now time.Time) offer {
	node, instances := h.lost()
	if node+len(instances) == 0 || !h.patience(now) {
		return h.want
	}
	if h.heldFrom.IsZero() {
		h.heldFrom = now
	}
	out := h.want
	if node > 0 {
		out.node = h.pub.node
	}
	out.instances = append(slices.Clone(out.instances), instances...)
	out.services = slices.Clone(out.services)
	for i := range instances {
		out.services = append(out.services, instances[i].service)
	}
	out.sort()
	return out
}

// kept counts what the guard keeps of the node.
func (h *host) kept() int {
	node, instances := h.lost()
	return node + len(instances)
}

func (b *Builder) shrinkFinding(held int, now time.Time) (Finding, bool) {
	if held == 0 {
		return Finding{}, false
	}
	since := now
	for h := range b.held {
		if !h.heldFrom.IsZero() && h.heldFrom.Before(since) {
			since = h.heldFrom
		}
	}
	return Finding{
		Kind: KindShrink,
		Text: fmt.Sprintf("%d names and instances have vanished from Consul since %s, more than a third of the zone; they are still answered",
			held, since.UTC().Format(time.TimeOnly)),
		Hint: fmt.Sprintf("look at Consul: consul members, consul catalog nodes; what it says for %s is believed", shrinkHold),
	}, true
}
