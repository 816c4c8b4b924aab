package config

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
)

// Consul says how the local Consul agent is reached.
type Consul struct {
	// The HTTP address of the Consul agent on this machine: host:port, or a
	// URL when it speaks HTTPS.
	Address string `key:"address"`

	// The Consul token. An agent's needs to read alps/, the event alps and its
	// own Consul agent, and nothing else; deploy/consul has the policies.
	Token string `key:"token,secret"`

	// A file that holds the token, so that it need not stand here.
	TokenFile string `key:"token_file"`

	// The Consul datacenter. Empty means that of the local Consul agent.
	Datacenter string `key:"datacenter"`
}

func defaultConsul() Consul {
	// Where a Consul agent listens when nobody has said otherwise.
	return Consul{Address: "127.0.0.1:8500"}
}

func (c *Consul) check(r *report) {
	if err := checkConsulAddress(c.Address); err != nil {
		r.addf("consul.address", "%v", err)
	}
	if c.Token != "" && c.TokenFile != "" {
		r.addf("consul.token_file", "the token is given by token as well: keep one of them")
	}
}

func checkConsulAddress(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return checkHostPort(s, 8500)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q: want host:port, or a URL that begins with http:// or https://", s)
	}
	return nil
}

// checkHostPort wants a host and a port that one can connect to; usual is the
// port that the error shows as an example.
func checkHostPort(s string, usual int) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || !isPort(port, 1) {
		return fmt.Errorf("%q: want host:port, such as 10.0.0.1:%d", s, usual)
	}
	return nil
}

// checkListen wants an address that one can listen on: the host may be empty
// (all of them), and port 0 means any that is free. usual is as in
// checkHostPort.
func checkListen(s string, usual int) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil || !isPort(port, 0) {
		return fmt.Errorf("%q: want address:port, such as 0.0.0.0:%d", s, usual)
	}
	return nil
}

func isPort(s string, least uint64) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n >= least
}
