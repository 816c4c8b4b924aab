package dispatch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"alps/mesh"
)

// MaxPart is the most bytes of one part: 512 KiB is what Consul takes in one
// value, and 16 parts of it hold more than 200,000 targets.
const MaxPart = 512 << 10

// Split fixes a target list for a Spec: inline when it is short, otherwise as
// one part for each shard that has targets. The parts are the documents to
// write under PartKey; their digests are in the list. targets is not changed;
// a NodeID that occurs twice is an error.
func Split(targets []mesh.Target) (mesh.TargetList, map[int][]byte, error) {
	sorted := slices.Clone(targets)
	slices.SortFunc(sorted, func(a, b mesh.Target) int { return strings.Compare(string(a.Node), string(b.Node)) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Node == sorted[i-1].Node {
			return mesh.TargetList{}, nil, fmt.Errorf("split targets: node %s occurs twice", sorted[i].Node)
		}
	}
	list := mesh.TargetList{Count: len(sorted)}
	if len(sorted) <= mesh.MaxInlineTargets {
		list.Inline = sorted
		return list, nil, nil
	}
	var bufs [mesh.Shards]bytes.Buffer
	var counts [mesh.Shards]int
	for _, t := range sorted {
		s := t.Node.Shard()
		fmt.Fprintf(&bufs[s], "%s %d\n", t.Node, t.Wave)
		counts[s]++
	}
	parts := make(map[int][]byte)
	for s := range bufs {
		if counts[s] == 0 {
			continue
		}
		doc := bufs[s].Bytes()
		if len(doc) > MaxPart {
			return mesh.TargetList{}, nil, fmt.Errorf("split targets: part %d has %d bytes, the limit is %d", s, len(doc), MaxPart)
		}
		parts[s] = doc
		list.Parts = append(list.Parts, mesh.PartDigest{Shard: s, SHA256: mesh.Digest(doc), Count: counts[s]})
	}
	return list, parts, nil
}

// ErrNotTarget says that a list is sound and does not name the node.
var ErrNotTarget = errors.New("the node is not in the target list")

// ErrAltered says that a document is not the one that was signed.
var ErrAltered = errors.New("the document is not the one that was signed")

// Find returns a node's own entry. part is the document of the node's shard;
// it is only looked at when the list has parts, and verified against the
// digest and the count in the list first. A list that has no part for the
// node's shard does not name the node. Errors wrap ErrNotTarget or
// ErrAltered.
func Find(list mesh.TargetList, node mesh.NodeID, part []byte) (mesh.Target, error) {
	targets := list.Inline
	if len(list.Parts) > 0 {
		i := slices.IndexFunc(list.Parts, func(p mesh.PartDigest) bool { return p.Shard == node.Shard() })
		if i < 0 {
			return mesh.Target{}, ErrNotTarget
		}
		var err error
		if targets, err = decodePart(part, list.Parts[i]); err != nil {
			return mesh.Target{}, err
		}
	}
	i := slices.IndexFunc(targets, func(t mesh.Target) bool { return t.Node == node })
	if i < 0 {
		return mesh.Target{}, ErrNotTarget
	}
	return targets[i], nil
}

// NeedsPart reports whether a node must read its shard's part to find itself.
func NeedsPart(list mesh.TargetList, node mesh.NodeID) bool {
	return slices.ContainsFunc(list.Parts, func(p mesh.PartDigest) bool { return p.Shard == node.Shard() })
}

func decodePart(doc []byte, want mesh.PartDigest) ([]mesh.Target, error) {
	if len(doc) > MaxPart || mesh.Digest(doc) != want.SHA256 {
		return nil, fmt.Errorf("part %d of the target list: %w", want.Shard, ErrAltered)
	}
	targets := make([]mesh.Target, 0, want.Count)
	for line := range strings.Lines(string(doc)) {
		id, wave, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		node, err := mesh.ParseNodeID(id)
		w, werr := strconv.Atoi(wave)
		if !ok || err != nil || werr != nil || w < 0 {
			return nil, fmt.Errorf("part %d of the target list: line %q is not an id and a wave", want.Shard, line)
		}
		targets = append(targets, mesh.Target{Node: node, Wave: w})
	}
	if len(targets) != want.Count {
		return nil, fmt.Errorf("part %d of the target list holds %d nodes, not %d: %w", want.Shard, len(targets), want.Count, ErrAltered)
	}
	return targets, nil
}
