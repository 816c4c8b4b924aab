package link

import (
	"slices"
	"sync"

	"alps/mesh"
	"alps/mesh/frame"
)

// marks remembers how far each node's messages are committed, to drop
// repetitions. It is a saving, not a promise: after a restart of the server
// it is empty, and consumers see some messages twice.
type marks struct {
	mu    sync.Mutex
	nodes map[mesh.NodeID]*nodeMarks
}

// nodeMarks is kept for every node that ever had a link with this server.
type nodeMarks struct {
	boots    []bootMark     // by boot id, which grows; the newest maxBoots.
	hellos   []frame.BootID // the processes that opened links, in that order; the newest maxBoots.
	replaced int
}

type bootMark struct {
	boot frame.BootID
	seq  uint64
}

// maxBoots is how many runs of an agent are told apart. One that restarts
// more often while its spool is full only has some messages committed twice.
const maxBoots = 4

func newMarks() *marks { return &marks{nodes: make(map[mesh.NodeID]*nodeMarks)} }

func (m *marks) node(id mesh.NodeID) *nodeMarks {
	n := m.nodes[id]
	if n == nil {
		n = new(nodeMarks)
		m.nodes[id] = n
	}
	return n
}

// get returns the highest number committed for a node's boot.
func (m *marks) get(id mesh.NodeID, boot frame.BootID) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.node(id).boots {
		if b.boot == boot {
			return b.seq
		}
	}
	return 0
}

// set notes that all up to seq is committed.
func (m *marks) set(id mesh.NodeID, boot frame.BootID, seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.node(id)
	i, ok := slices.BinarySearchFunc(n.boots, boot, func(b bootMark, t frame.BootID) int {
		return compareBoots(b.boot, t)
	})
	if !ok {
		n.boots = slices.Insert(n.boots, i, bootMark{boot: boot})
	}
	n.boots[i].seq = max(n.boots[i].seq, seq)
	if len(n.boots) > maxBoots {
		n.boots = slices.Delete(n.boots, 0, 1)
	}
}

func compareBoots(a, b frame.BootID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// hello notes that a process has opened a link and reports whether another
// one of the same node has had one since its last.
func (m *marks) hello(id mesh.NodeID, boot frame.BootID) (cameBack bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.node(id)
	i := slices.Index(n.hellos, boot)
	if i >= 0 && i == len(n.hellos)-1 {
		return false
	}
	if i >= 0 {
		n.hellos = slices.Delete(n.hellos, i, i+1)
	}
	n.hellos = append(n.hellos, boot)
	if len(n.hellos) > maxBoots {
		n.hellos = slices.Delete(n.hellos, 0, 1)
	}
	return i >= 0
}

// replace counts one replacement and returns how many there have been.
func (m *marks) replace(id mesh.NodeID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.node(id)
	n.replaced++
	return n.replaced
}
