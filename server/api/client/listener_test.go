package client_test

import (
	"net"
	"sync/atomic"
)

// countingListener counts the connections that come in.
type countingListener struct {
	net.Listener

	n atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

func (l *countingListener) count() int { return int(l.n.Load()) }
