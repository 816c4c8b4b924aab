package wire

import (
	"context"

	"alps/mesh/consul"
	"alps/mesh/dispatch"
	"alps/server/job"
)

// jobBoard is job.Board on one datacenter's Consul.
type jobBoard struct{ c *consul.Client }

func (b jobBoard) List(ctx context.Context, prefix string, consistent bool) ([]job.Document, error) {
	pairs, _, err := b.c.List(ctx, prefix, consul.Query{Mode: mode(consistent)})
	if err != nil {
		return nil, err
	}
	docs := make([]job.Document, len(pairs))
	for i, p := range pairs {
		docs[i] = job.Document{Key: p.Key, Value: p.Value, Index: p.ModifyIndex}
	}
	return docs, nil
}

func (b jobBoard) Txn(ctx context.Context, writes []job.Write) (uint64, error) {
	ops := make([]consul.Op, len(writes))
	for i, w := range writes {
		ops[i] = consul.Op{Verb: opOf(w.Verb), Key: w.Key, Value: w.Value, Index: w.Index, Session: w.Session}
	}
	pairs, err := b.c.Txn(ctx, ops)
	if err != nil || len(pairs) == 0 {
		return 0, err
	}
	return pairs[0].ModifyIndex, nil
}

func (b jobBoard) Fire(ctx context.Context, payload string) error {
	_, err := b.c.Fire(ctx, dispatch.EventName, []byte(payload))
	return err
}

func opOf(v job.Verb) consul.Verb {
	switch v {
	case job.VerbSet:
		return consul.OpSet
	case job.VerbCAS:
		return consul.OpCAS
	case job.VerbDelete:
		return consul.OpDelete
	case job.VerbDeleteTree:
		return consul.OpDeleteTree
	case job.VerbCheckSession:
		return consul.OpCheckSession
	}
	return consul.Verb(v)
}

func mode(consistent bool) consul.Mode {
	if consistent {
		return consul.Consistent
	}
	return consul.Stale
}
