package config

import "regexp"

// Server is the configuration of `alps server`.
type Server struct {
	// Where the server keeps its history and, unless said otherwise, its TLS
	// files. It is what a backup must hold.
	DataDir string `key:"data_dir,required"`

	// The name of the cluster: in every certificate and every signed job, so
	// that nothing made for one cluster is believed by another. At most 63
	// lower-case letters, digits and dashes.
	Cluster string `key:"cluster"`

	Log

	Consul Consul `key:"consul"`
	API    API    `key:"api"`
	Link   Link   `key:"link"`
	TLS    TLS    `key:"tls"`
	Job    Job    `key:"job"`
	Keys   Keys   `key:"keys"`
	Store  Store  `key:"store"`
	Alert  Alert  `key:"alert"`
	Remedy Remedy `key:"remedy"`
	Zone   Zone   `key:"zone"`
	Leader Leader `key:"leader"`
}

// DefaultServer returns the configuration of a server whose file is empty. It
// lacks data_dir, so it is not valid yet.
func DefaultServer() *Server {
	return &Server{
		// One cluster is what nearly everybody has.
		Cluster: "alps",
		Log:     defaultLog(),
		Consul:  defaultConsul(),
		API:     defaultAPI(),
		Link:    defaultLink(),
		Job:     defaultJob(),
		Alert:   defaultAlert(),
		Remedy:  defaultRemedy(),
		Zone:    defaultZone(),
		Leader:  defaultLeader(),
	}
}

// LoadServer is LoadAgent for a server.
func LoadServer(path string) (*Server, error) {
	c := DefaultServer()
	if err := load(path, c); err != nil {
		return nil, err
	}
	return c, nil
}

// Validate checks the values. It does no I/O. The error is Errors.
func (s *Server) Validate() error { return validate(s) }

var clusterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (s *Server) check(r *report) {
	if !clusterName.MatchString(s.Cluster) {
		r.addf("cluster", "%q is not a cluster name: want 1 to 63 lower-case letters, digits and inner dashes", s.Cluster)
	}
}
