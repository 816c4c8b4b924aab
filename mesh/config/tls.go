package config

// TLS names the certificates of the server. `alps tls init` makes them where
// they are looked for by default.
type TLS struct {
	// The certificate of the cluster's CA.
	CACert string `key:"ca_cert" under:"tls/ca.pem"`

	// The CA's private key, with which agents that enrol get a certificate.
	CAKey string `key:"ca_key" under:"tls/ca-key.pem"`

	// The server's own certificate.
	Cert string `key:"cert" under:"tls/server.pem"`

	// The private key of the server's own certificate.
	Key string `key:"key" under:"tls/server-key.pem"`
}
