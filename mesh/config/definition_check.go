package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"alps/mesh"
)

// checkKeys is a check: what is asked, how often, and what it is about. It asks
// in exactly one way: script, tcp, http, ttl or probe. It belongs to the
// service that it stands in, or to the node.
type checkKeys struct {
	// What tells it from every other check of the node. The label, else the
	// name, else derived from what is asked.
	ID string `key:"id" also:"check_id"`

	// What people and rules call it. The label, else the id.
	Name string `key:"name"`

	// The id of the service that it is about, when it does not stand in one.
	// Nothing means the node.
	ServiceID string `key:"service_id"`

	// What somebody should know who sees it fail.
	Notes string `key:"notes"`

	// A command that ends with 0 for passing, 1 warning, 2 critical and 3
	// unknown, as Nagios plugins do, and with any other code for critical: a
	// list of arguments, or a line for /bin/sh.
	Script commandLine `key:"script"`

	// The list of arguments as Consul calls it: the same as script.
	Args []string `key:"args" also:"script_args"`

	// Variables of the script's environment.
	Env table `key:"env"`

	// A host:port that takes connections.
	TCP string `key:"tcp"`

	// A URL. 2xx is passing, 429 warning, everything else critical.
	HTTP string `key:"http" also:"url"`

	// What is sent to the URL: the method, headers and a body.
	Method string `key:"method"`

	// Headers of the request, each one text or a list.
	Header headers `key:"header"`

	// The body of the request.
	Body string `key:"body"`

	// Whether any certificate is taken.
	TLSSkipVerify bool `key:"tls_skip_verify"`

	// Somebody else says how it is, through Consul's API, at least this often.
	TTL time.Duration `key:"ttl" min:"0s" max:"168h" unset:""`

	// A probe of a pack, such as host.disk.
	Probe string `key:"probe"`

	// The thresholds of the probe, as its pack's README has them.
	Settings table `key:"settings"`

	// How long lies between the beginnings of two runs. A run that is late
	// delays the next; they never overlap.
	Interval time.Duration `key:"interval" min:"200ms" max:"24h"`

	// How long one run may take. It may be longer than interval. Nothing means
	// 30s for a script and 10s for everything else.
	Timeout time.Duration `key:"timeout" min:"0s" max:"1h" unset:""`

	// How many bad results in a row make a problem that alerts look at.
	// Consul shows each result at once.
	Attempts int `key:"attempts" also:"failures_before_critical" min:"0" max:"100"`

	// How Consul shows it before the first result.
	Status string `key:"status" oneof:"passing warning critical"`

	// Who runs it: agent is ALPS, consul is Consul's own agent, which knows
	// neither probes nor unknown.
	Runner string `key:"runner" oneof:"agent consul"`

	// Consul removes the service when the check was critical for so long.
	DeregisterAfter time.Duration `key:"deregister_critical_service_after" min:"0s" max:"8760h" unset:""`
}

func defaultCheckKeys() checkKeys {
	return checkKeys{
		// What Consul's own examples say; fast enough for people, and cheap.
		Interval: 10 * time.Second,
		// The first bad result is a problem: whoever wants patience says so
		// here or in the rule.
		Attempts: 1,
		// As in Consul: what has not been asked is not up.
		Status: string(mesh.HealthCritical),
		// Knows unknown, perfdata and the link.
		Runner: string(mesh.RunnerAgent),
	}
}

// defaultTimeout is Consul's own, so that a definition that moves from Consul
// keeps its meaning. It does not follow the interval: a slow plugin is slow
// however often it is asked.
func defaultTimeout(k mesh.CheckKind) time.Duration {
	if k == mesh.CheckScript {
		return 30 * time.Second
	}
	return 10 * time.Second
}

// minConsulInterval is the least that Consul's agent takes; it would go up to
// it without a word.
const minConsulInterval = time.Second

// addCheck decodes one check. owner is the service that it stands in, or nil;
// fallback the id that it has when nothing in it says one.
func (d *definer) addCheck(c *Checks, b *block, owner *mesh.ServiceDef, fallback string) {
	if d.addForeign(b) {
		return
	}
	keys := defaultCheckKeys()
	f := d.fill(b, &keys)
	def := mesh.CheckDef{
		Notes: keys.Notes, Runner: mesh.CheckRunner(keys.Runner), Attempts: max(1, keys.Attempts),
		Interval: keys.Interval, Timeout: keys.Timeout, DeregisterAfter: keys.DeregisterAfter,
		Origin: b.origin(),
	}
	if h := mesh.Health(keys.Status); h != mesh.HealthCritical {
		def.Initial = h
	}
	f.checkKind(&def, &keys)
	f.checkTimes(&def)
	f.checkRunner(&def)
	f.checkOwner(&def, &keys, owner)
	f.nameCheck(&def, &keys, owner, fallback)
	if f.done() {
		c.Checks = append(c.Checks, def)
	}
}

// checkKind finds out in which way it asks, and sets the fields of that way.
func (f *filled) checkKind(def *mesh.CheckDef, keys *checkKeys) {
	ways := map[string]mesh.CheckKind{
		"script": mesh.CheckScript, "args": mesh.CheckScript, "tcp": mesh.CheckTCP,
		"http": mesh.CheckHTTP, "ttl": mesh.CheckTTL, "probe": mesh.CheckProbe,
	}
	var given []string
	for _, way := range []string{"script", "args", "tcp", "http", "ttl", "probe"} {
		if f.has(way) {
			given = append(given, way)
		}
	}
	switch len(given) {
	case 0:
		f.add(f.block.kind, "check asks nothing: want one of script, tcp, http, ttl and probe")
		return
	case 1:
	default:
		f.bad(given[1], "the check asks by %s as well: keep one of them", given[0])
		return
	}
	def.Kind = ways[given[0]]
	switch def.Kind {
	case mesh.CheckScript:
		def.Command, def.Env = append([]string(keys.Script), keys.Args...), keys.Env
		f.checkCommand(given[0], def.Command)
		f.checkEnv(keys.Env)
	case mesh.CheckTCP:
		def.Address = keys.TCP
		f.checkAddress(keys.TCP)
	case mesh.CheckHTTP:
		def.URL, def.Method, def.Body = keys.HTTP, strings.ToUpper(keys.Method), keys.Body
		def.Header, def.TLSSkipVerify = keys.Header, keys.TLSSkipVerify
		f.checkHTTP(keys)
	case mesh.CheckTTL:
		def.TTL = keys.TTL
		f.checkTTL(keys.TTL)
	case mesh.CheckProbe:
		def.Probe, def.Settings = keys.Probe, keys.Settings
		if !probeName.MatchString(keys.Probe) {
			f.bad("probe", "%q is not a probe: want its pack and its name, such as host.disk", keys.Probe)
		}
	}
	f.checkStrangers(def.Kind)
}

var (
	probeName  = regexp.MustCompile(`^[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*$`)
	httpMethod = regexp.MustCompile(`^[A-Za-z]{1,20}$`)
	headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
)

// checkStrangers looks at keys of other kinds. Consul takes them without a word
// where they are its own; those that only ALPS has are a mistake.
func (f *filled) checkStrangers(kind mesh.CheckKind) {
	if kind != mesh.CheckHTTP {
		for _, key := range []string{"method", "header", "body", "tls_skip_verify"} {
			f.dropped(key)
		}
	}
	if f.has("env") && kind != mesh.CheckScript {
		f.bad("env", "only a script has an environment")
	}
	if f.has("settings") && kind != mesh.CheckProbe {
		f.bad("settings", "only a probe has settings")
	}
}

func (f *filled) checkCommand(key string, argv []string) {
	switch {
	case len(argv) == 0 || strings.TrimSpace(argv[0]) == "":
		f.bad(key, "the command is empty")
	case slices.ContainsFunc(argv, func(s string) bool { return strings.ContainsRune(s, 0) }):
		f.bad(key, "the command has a NUL in it")
	}
}

func (f *filled) checkEnv(env table) {
	for _, name := range sortedKeys(env) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(env[name], 0) {
			f.bad("env", "%q is not a variable", name)
		}
	}
}

func (f *filled) checkAddress(s string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !isPort(port, 1) || badText(host) != "" && host != "" {
		f.bad("tcp", "%q: want host:port, such as localhost:8080", s)
	}
}

func (f *filled) checkHTTP(keys *checkKeys) {
	if why := badURL(keys.HTTP); why != "" {
		f.bad("http", "%s", why)
	}
	if keys.Method != "" && !httpMethod.MatchString(keys.Method) {
		f.bad("method", "%q is not a method: want one such as GET or HEAD", keys.Method)
	}
	for _, name := range sortedKeys(keys.Header) {
		f.checkHeader(name, keys.Header[name])
	}
}

// checkHeader does not show values: they may be secrets.
func (f *filled) checkHeader(name string, values []string) {
	if !headerName.MatchString(name) {
		f.bad("header", "%q is not the name of a header", name)
	}
	if slices.ContainsFunc(values, func(v string) bool { return strings.ContainsAny(v, "\r\n\x00") }) {
		f.bad("header", "the value of %s holds a line break", name)
	}
}

// badURL says what is wrong with a URL, without showing it: it may hold a
// password or a token.
func badURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "this is not a URL: want one such as http://localhost:8080/health"
	case u.Scheme != "http" && u.Scheme != "https":
		return "the URL must begin with http:// or https://"
	case u.Hostname() == "":
		return "the URL names no host"
	case u.Port() != "" && !isPort(u.Port(), 1):
		return fmt.Sprintf("the URL's port %s is not between 1 and 65535", u.Port())
	}
	return ""
}

func (f *filled) checkTTL(ttl time.Duration) {
	if ttl < time.Second {
		f.bad("ttl", "%s is too short: want at least 1s", durationText(ttl))
	}
	if f.has("interval") {
		f.bad("interval", "a ttl check has no interval: somebody else reports, at least every %s", durationText(ttl))
	}
	f.dropped("timeout")
}

func (f *filled) checkTimes(def *mesh.CheckDef) {
	if def.Kind == mesh.CheckTTL {
		def.Interval, def.Timeout = 0, 0
	} else if def.Timeout == 0 {
		def.Timeout = defaultTimeout(def.Kind)
	}
}

func (f *filled) checkRunner(def *mesh.CheckDef) {
	if def.Runner != mesh.RunnerConsul {
		return
	}
	switch {
	case def.Kind == mesh.CheckProbe:
		f.bad("runner", "Consul runs no probes: leave out runner, or ask by script, tcp, http or ttl")
	case def.Env != nil:
		f.bad("env", "Consul gives scripts no variables: leave out runner, or write [\"env\", \"NAME=value\", …] in script")
	case f.has("interval") && def.Interval > 0 && def.Interval < minConsulInterval:
		f.bad("interval", "%s is too short for Consul: want at least 1s", durationText(def.Interval))
	}
}

// checkOwner finds the service that it is about. Whether a service_id exists is
// known when all files have been read.
func (f *filled) checkOwner(def *mesh.CheckDef, keys *checkKeys, owner *mesh.ServiceDef) {
	def.Service = keys.ServiceID
	switch {
	case owner == nil:
	case keys.ServiceID != "" && keys.ServiceID != owner.ID:
		f.bad("service_id", "the check stands in service %q", owner.ID)
	default:
		def.Service = owner.ID
	}
	if def.Service == "" && def.DeregisterAfter > 0 {
		f.dropped("deregister_critical_service_after")
		def.DeregisterAfter = 0
	}
}

// nameCheck gives it an id and a name, and claims the id.
func (f *filled) nameCheck(def *mesh.CheckDef, keys *checkKeys, owner *mesh.ServiceDef, fallback string) {
	def.ID = firstOf(keys.ID, f.block.label)
	def.Name = firstOf(keys.Name, f.block.label)
	if owner != nil {
		def.ID = firstOf(def.ID, fallback)
		def.Name = firstOf(def.Name, keys.ID, fmt.Sprintf("Service %q check", owner.Name))
	}
	def.ID = firstOf(def.ID, def.Name)
	if def.ID == "" && def.Kind != "" {
		def.ID = derivedID(def)
	}
	def.Name = firstOf(def.Name, def.ID)
	if def.ID == "" {
		return // what it lacks has been said.
	}
	if !f.checkName("id", def.ID) {
		return
	}
	if def.Name != def.ID {
		f.checkName("name", def.Name)
	}
	if slices.Contains([]string{mesh.AgentCheck, mesh.SerfCheck}, def.ID) {
		f.bad("id", "%q is taken: it says in Consul that the node lives", def.ID)
		return
	}
	f.d.claim(f.block, kindCheck, def.ID)
}

// derivedID names a check that has no name after what it asks, and says the
// same every time. Names are seen by everybody, so of a URL the password and the
// query are left out, and of a command all but the program; a digest stands for
// the rest.
func derivedID(def *mesh.CheckDef) string {
	kind := string(def.Kind)
	asked := ""
	switch def.Kind {
	case mesh.CheckScript:
		all := strings.Join(def.Command, "\x00")
		return strings.Join(slices.DeleteFunc([]string{kind, program(def.Command), digest(all)}, isEmpty), " ")
	case mesh.CheckTCP:
		asked = def.Address
	case mesh.CheckHTTP:
		if u, err := url.Parse(def.URL); err == nil {
			asked = u.Host + strings.TrimRight(u.EscapedPath(), "/")
		}
	case mesh.CheckTTL:
		asked = durationText(def.TTL)
	case mesh.CheckProbe:
		asked = def.Probe
	}
	id := kind + " " + asked
	if len(id) <= maxDerived && badText(id) == "" && badID(id) == "" {
		return id
	}
	return kind + " " + digest(asked)
}

func isEmpty(s string) bool { return s == "" }

// program is the name of what a command runs, "" when it is not plain.
func program(argv []string) string {
	if len(argv) == 3 && argv[0] == "/bin/sh" && argv[1] == "-c" {
		argv = strings.Fields(argv[2])
	}
	if len(argv) == 0 {
		return ""
	}
	name := path.Base(argv[0])
	if len(name) > 40 || !definitionName.MatchString(name) {
		return ""
	}
	return name
}

// digest tells texts apart in a few letters.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// maxDerived is how long a derived name may be before it is a digest: it stands
// in lists and in URLs.
const maxDerived = 96
