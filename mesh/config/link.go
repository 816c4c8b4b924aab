package config

// Link is where agents reach the server.
type Link struct {
	// The address that the server listens on for agents. Only certificates of
	// this cluster get past the handshake.
	Listen string `key:"listen"`

	// The host:port that agents are told to connect to. Empty means the
	// address that Consul has for this node, with the port of listen.
	Advertise string `key:"advertise"`
}

func defaultLink() Link {
	// Agents are on other machines.
	return Link{Listen: "0.0.0.0:8781"}
}

func (l *Link) check(r *report) {
	if err := checkListen(l.Listen, 8781); err != nil {
		r.addf("link.listen", "%v", err)
	}
	if l.Advertise == "" {
		return
	}
	if err := checkHostPort(l.Advertise, 8781); err != nil {
		r.addf("link.advertise", "%v", err)
	}
}
