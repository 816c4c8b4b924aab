package config

// Join says how an agent enrols and where it finds servers.
type Join struct {
	// The join token that the agent shows once, when it enrols. An agent that
	// has an identity does not look at it.
	Token string `key:"token,secret"`

	// A file that holds the join token, so that it need not stand here.
	TokenFile string `key:"token_file"`

	// The servers' link addresses, as host:port. Empty means that they are
	// found through the Consul service alps-server. Either way a server is
	// believed by its certificate only.
	Servers []string `key:"servers"`
}

func (j *Join) check(r *report) {
	if j.Token != "" && j.TokenFile != "" {
		r.addf("join.token_file", "the token is given by token as well: keep one of them")
	}
	for _, s := range j.Servers {
		if err := checkHostPort(s, 8781); err != nil {
			r.addf("join.servers", "%v", err)
		}
	}
}
