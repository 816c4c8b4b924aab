package config

// API is where operators, browsers and programs reach the server.
type API struct {
	// The address that the API and the web pages are served on, by HTTPS.
	Listen string `key:"listen"`
}

func defaultAPI() API {
	// This machine only: opening the API to a network is somebody's decision.
	return API{Listen: "127.0.0.1:8780"}
}

func (a *API) check(r *report) {
	if err := checkListen(a.Listen, 8780); err != nil {
		r.addf("api.listen", "%v", err)
	}
}
