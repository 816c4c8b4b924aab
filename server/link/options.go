package link

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/frame"
	"alps/mesh/pki"
)

const (
	// maxHandshakes bounds the connections that are not yet a link or a
	// request: at about 1 ms of CPU each, a whole estate that reconnects is
	// through in seconds, and a flood of strangers cannot fill the memory.
	maxHandshakes = 256
	// handshakeTime is what a peer has for TLS and its hello.
	handshakeTime = 10 * time.Second
	// silence is after how long without a word a link is closed: three pings.
	silence = 90 * time.Second
	// writeTime is how long one write may block before the link is given up.
	writeTime = 10 * time.Second
	// commitTime is what a Consumer has: less than the agent's patience.
	commitTime = 60 * time.Second
	// linger is how long a message waits for company, so that a hundred
	// results cost one commit.
	linger = 2 * time.Millisecond
	// maxBatch and maxBatchBytes bound what is committed at once.
	maxBatch      = 256
	maxBatchBytes = 512 << 10
	// maxSkew is how far an agent's clock may be off before it is told; jobs
	// are refused beyond it.
	maxSkew = 2 * time.Minute
	// maxName is the longest node name; that of DNS.
	maxName = 255
)

// A Consumer takes the messages of one kind.
//
// Commit is called with at least one message, all of one node and boot, in
// the order of their numbers, and never twice at once for one node. When it
// returns nil they are safe and will be acknowledged. It may be called again
// with messages that it has had: it must be idempotent. The messages are its
// own to keep. It should be quick: the link waits, and ctx ends after a
// minute, or when the link does.
//
// An error of code mesh.Invalid or mesh.Denied says that a message will never
// be taken; it is reported and acknowledged, so that it cannot block what is
// behind it. Where it came for several messages, Commit is called again for
// each alone. After any other error nothing is acknowledged, the link is
// closed, and the agent sends again later.
//
// Commit must not call Server.Send for the node that the messages are from:
// its answer is read by the goroutine that Commit runs in. Use Server.Post.
type Consumer interface {
	Commit(ctx context.Context, from frame.Peer, msgs []frame.Message) error
}

// Enroller lets nodes in. Its errors go to the agent as they are.
type Enroller interface {
	Enrol(ctx context.Context, r frame.EnrolRequest) (frame.EnrolResponse, error)
	// Renew signs a new certificate (PEM) for a node that showed a valid one.
	Renew(ctx context.Context, id pki.Identity, csr []byte) ([]byte, error)
}

// Options is what a Server is made from. Listener, CA, Certificate and
// Revoked are needed; a nil func is not called; a nil Enroller or Bodies
// answers its routes with mesh.Unavailable. The funcs are called from the
// goroutines of links, must not block, and may call any method but Send.
type Options struct {
	Listener    net.Listener // owned by the Server; closed when Run ends.
	Name        string       // what agents are told that this server is called.
	CA          *x509.Certificate
	Certificate *pki.Live
	Revoked     func(mesh.NodeID) bool // asked at each handshake and for each message.
	Lead        func() uint64          // the highest term of a leader that is known; nil: there is no lock.
	Nodes       func() int             // how many nodes there are, roughly; nil, or 0: not known.
	Consumers   map[frame.Kind]Consumer
	Enroller    Enroller
	Bodies      Bodies

	// OnConnect is called before the first message of a link is committed,
	// OnDisconnect after the last, with the reason. They are paired.
	OnConnect    func(frame.Peer, frame.HelloPayload)
	OnDisconnect func(frame.Peer, error)
	// OnRefused is called for a message that will never be taken.
	OnRefused func(frame.Peer, frame.Message, error)
	// OnTurnedAway is called for a connection that ends because of the
	// certificate that it has shown. Of the Peer there is the address, and the
	// NodeID where the cluster's CA has signed it. Strangers decide how often.
	OnTurnedAway func(frame.Peer, error)
	// OnReplaced is called when a second link of a node pushes out the first.
	OnReplaced func(Replacement)

	Logger hclog.Logger // nil: nothing is logged.

	silence time.Duration // for tests; zero: the constant.
}

// Replacement says that a node has opened a second link.
type Replacement struct {
	Node     mesh.NodeID
	Old, New frame.Peer
	// Count is how often it has happened since this server started.
	Count int
	// Clone is true when a process that had been pushed out has come back:
	// two machines use one identity. A node that merely lost its connection,
	// or was restarted, never does that.
	Clone bool
}

func (o *Options) validate() error {
	if o.Listener == nil || o.CA == nil || o.Certificate == nil || o.Revoked == nil {
		return errors.New("new link server: Listener, CA, Certificate and Revoked are all needed")
	}
	for k, c := range o.Consumers {
		if !k.Up() || c == nil {
			return fmt.Errorf("new link server: consumer for %s: not a kind that agents send, or nil", k)
		}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Lead == nil {
		o.Lead = func() uint64 { return 0 }
	}
	if o.Nodes == nil {
		o.Nodes = func() int { return 0 }
	}
	if o.silence == 0 {
		o.silence = silence
	}
	return nil
}
