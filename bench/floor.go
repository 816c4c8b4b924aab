package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"alps/mesh"
	"alps/mesh/pki"
)

// floorVerb makes this program the bare server: `bench floor-server DIR`.
const floorVerb = "floor-server"

const (
	floorServer = "server.pem"
	floorCA     = "ca.pem"
)

// floor is a server that does nothing but hold connections: mutual TLS, each
// client with a certificate of its own. It runs as a process of its own.
type floor struct {
	cmd    *exec.Cmd
	in     io.Closer
	dir    string
	before memory
	conns  []net.Conn
}

// startFloor starts one and opens n connections to it.
func startFloor(ctx context.Context, n int) (*floor, error) {
	f := &floor{conns: make([]net.Conn, n)}
	if err := f.start(ctx); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *floor) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if f.dir, err = os.MkdirTemp("", "alps-bench-floor-*"); err != nil {
		return err
	}
	ca, err := floorIdentity(f.dir)
	if err != nil {
		return err
	}
	f.cmd = exec.CommandContext(ctx, self, floorVerb, f.dir)
	f.cmd.Stderr = os.Stderr
	if f.in, err = f.cmd.StdinPipe(); err != nil { // it ends with us, however we end.
		return err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := f.cmd.Start(); err != nil {
		return err
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the bare server did not start: %w", err)
	}
	if f.before, err = memoryOf(f.cmd.Process.Pid); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range f.conns {
		g.Go(func() (err error) {
			f.conns[i], err = dialFloor(gctx, ca, strings.TrimSpace(addr))
			return err
		})
	}
	return g.Wait()
}

// perConnection is the anonymous memory, in KB, that each connection has added
// by now.
func (f *floor) perConnection() (float64, error) {
	after, err := memoryOf(f.cmd.Process.Pid)
	return perAgent(f.before, after, len(f.conns)), err
}

// close ends the server.
func (f *floor) close() {
	for _, c := range f.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	if f.in != nil {
		_ = f.in.Close()
	}
	if f.cmd != nil && f.cmd.Process != nil {
		_ = f.cmd.Wait() // nothing that it could still say matters.
	}
	_ = os.RemoveAll(f.dir) // temporary.
}

// floorIdentity makes a CA and writes what the server needs of it.
func floorIdentity(dir string) (*pki.CA, error) {
	ca, err := pki.NewCA("floor", time.Now())
	if err != nil {
		return nil, err
	}
	id := pki.Identity{Cluster: "floor", Kind: pki.Server, NodeID: mesh.NewNodeID()}
	server, err := ca.IssueServer(pki.ServerRequest{ID: id}, time.Now())
	if err != nil {
		return nil, err
	}
	return ca, errors.Join(
		os.WriteFile(filepath.Join(dir, floorServer), server, 0o600),
		os.WriteFile(filepath.Join(dir, floorCA), ca.PEM(), 0o600))
}

// dialFloor connects as a client with a new certificate.
func dialFloor(ctx context.Context, ca *pki.CA, addr string) (net.Conn, error) {
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		return nil, err
	}
	cert, err := ca.SignAgent(csr, pki.Identity{Cluster: "floor", Kind: pki.Agent, NodeID: mesh.NewNodeID()}, time.Now())
	if err != nil {
		return nil, err
	}
	keyPEM, err := pki.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, keyPEM)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	d := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: pki.ServerName, RootCAs: roots, Certificates: []tls.Certificate{pair},
	}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// The server answers one byte when it has let us in.
	_, err = io.ReadFull(conn, make([]byte, 1))
	return conn, err
}

// serveFloor is the bare server: one goroutine for a connection, which waits
// for a few bytes that never come. It ends when its standard input does.
func serveFloor(dir string, in io.Reader, out io.Writer) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, floorServer), filepath.Join(dir, floorServer))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, floorCA))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = l.Close()
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil //nolint:nilerr // the listener was closed: that is the end.
		}
		go func() {
			defer conn.Close()
			if _, err := conn.Write([]byte{1}); err == nil { // makes the handshake.
				_, _ = conn.Read(make([]byte, 14))
			}
		}()
	}
}
