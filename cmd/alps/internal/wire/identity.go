package wire

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/config"
	"alps/mesh/pki"
)

// serverIdentity reads the CA and the server's own certificate. The server
// makes its certificate by itself, and again when it nears its end or when
// the addresses that it listens on have changed.
func serverIdentity(cfg *config.Server, now time.Time) (*pki.CA, *pki.Live, error) {
	ca, err := pki.LoadCA(cfg.TLS.CACert, cfg.TLS.CAKey)
	if err != nil {
		return nil, nil, mesh.Errorf(mesh.Invalid, "read the CA: %w", err).
			WithHint("alps tls init --dir %s --cluster %s", dataFile(cfg, "tls"), cfg.Cluster)
	}
	if ca.Cluster() != cfg.Cluster {
		return nil, nil, mesh.Errorf(mesh.Invalid, "the CA %s is of cluster %q, the config says %q", cfg.TLS.CACert, ca.Cluster(), cfg.Cluster).
			WithHint("set cluster = %q", ca.Cluster())
	}
	text, err := readPair(cfg.TLS)
	if err == nil {
		live, err := pki.NewLive(text)
		if err == nil && current(live, ca, cfg, now) {
			return ca, live, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, mesh.Errorf(mesh.Invalid, "read the server's certificate: %w", err)
	}
	if text, err = issue(cfg, ca, now); err != nil {
		return nil, nil, err
	}
	live, err := pki.NewLive(text)
	return ca, live, err
}

func readPair(cfg config.TLS) ([]byte, error) {
	cert, err := os.ReadFile(cfg.Cert)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(cfg.Key)
	return append(cert, key...), err
}

// current reports whether a certificate is ours, good for a while, and good
// for every address that clients may dial.
func current(live *pki.Live, ca *pki.CA, cfg *config.Server, now time.Time) bool {
	leaf := live.Leaf()
	if pki.NeedsRenewal(leaf, now) || leaf.CheckSignatureFrom(ca.Certificate()) != nil {
		return false
	}
	names, ips := dialled(cfg)
	for _, ip := range ips {
		names = append(names, ip.String())
	}
	return !slices.ContainsFunc(names, func(n string) bool { return leaf.VerifyHostname(n) != nil })
}

// issue makes the server's key and certificate and writes them. The NodeID of
// a server is as random as an agent's and lives as long as its certificate.
func issue(cfg *config.Server, ca *pki.CA, now time.Time) ([]byte, error) {
	names, ips := dialled(cfg)
	text, err := ca.IssueServer(pki.ServerRequest{
		ID: pki.Identity{Cluster: cfg.Cluster, Kind: pki.Server, NodeID: mesh.NewNodeID()}, DNSNames: names, IPs: ips,
	}, now)
	if err != nil {
		return nil, err
	}
	var certs, key []byte
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			certs = append(certs, pem.EncodeToMemory(block)...)
		} else {
			key = append(key, pem.EncodeToMemory(block)...)
		}
	}
	// The CA may lie elsewhere: then nobody has made these directories yet.
	for _, path := range []string{cfg.TLS.Key, cfg.TLS.Cert} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, mesh.Errorf(mesh.Invalid, "make the directory of the server's certificate: %w", err)
		}
	}
	return text, errors.Join(pki.WriteFile(cfg.TLS.Key, key, 0o600), pki.WriteFile(cfg.TLS.Cert, certs, 0o644))
}

// dialled are the names and addresses that clients of the API may dial.
func dialled(cfg *config.Server) (names []string, ips []net.IP) {
	names = []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		names = append(names, host)
	}
	ips = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, addr := range []string{cfg.API.Listen, cfg.Link.Listen, cfg.Link.Advertise} {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || host == "" {
			continue
		}
		ip := net.ParseIP(host)
		switch {
		case ip == nil:
			names = append(names, host)
		case ip.IsUnspecified():
			ips = append(ips, ownAddresses()...)
		default:
			ips = append(ips, ip)
		}
	}
	return names, ips
}

// ownAddresses are what a listener on all addresses can be dialled at.
func ownAddresses() []net.IP {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []net.IP
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			out = append(out, n.IP)
		}
	}
	return out
}

// apiTLS is for operators and browsers: they show a token, no certificate.
func apiTLS(ca *pki.CA, live *pki.Live) (*tls.Config, error) {
	cfg, err := pki.ServerTLS(pki.ServerOptions{
		CA: ca.Certificate(), Certificate: live, Revoked: func(mesh.NodeID) bool { return false },
		Protocols: []string{"h2", "http/1.1"},
	})
	if err != nil {
		return nil, err
	}
	cfg.ClientAuth, cfg.ClientCAs = tls.NoClientCert, nil
	return cfg, nil
}

// renewal makes a new certificate in time.
type renewal struct {
	cfg  *config.Server
	ca   *pki.CA
	live *pki.Live
	log  hclog.Logger
}

const renewalEvery = time.Hour

func (r renewal) run(ctx context.Context) error {
	tick := time.NewTicker(renewalEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if !pki.NeedsRenewal(r.live.Leaf(), now) {
				continue
			}
			text, err := issue(r.cfg, r.ca, now)
			if err == nil {
				err = r.live.Replace(text)
			}
			if err != nil {
				r.log.Error("the server's certificate was not renewed, trying again", "ends", r.live.Leaf().NotAfter, "error", err)
			}
		}
	}
}
