package wire

import (
	"context"

	"alps/mesh/frame"
	"alps/server/leader"
	"alps/server/link"
)

// leading is a link.Consumer that takes nothing in while another server may
// lead. A server that was stopped for a while finds what agents have said to
// it meanwhile in its sockets: to acknowledge that would keep it from the
// server that leads now.
type leading struct {
	lead *leader.Leader
	link.Consumer
}

// Commit implements link.Consumer.
func (l leading) Commit(ctx context.Context, from frame.Peer, msgs []frame.Message) error {
	if err := l.lead.Stands(ctx); err != nil {
		return err
	}
	return l.Consumer.Commit(ctx, from, msgs)
}
