package config

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"alps/mesh"
)

// The kinds of definitions.
const (
	kindService   = "service"
	kindCheck     = "check"
	kindRule      = "rule"
	kindReceiver  = "receiver"
	kindPolicy    = "policy"
	kindManifest  = "manifest"
	kindParameter = "parameter"
)

// serviceKeys is a service that the agent registers in Consul, with the checks
// that stand in it.
type serviceKeys struct {
	// What tells it from every other service of the node. The label, else the
	// name.
	ID string `key:"id" also:"service_id"`

	// What it is called in Consul and in DNS. The label unless said otherwise.
	Name string `key:"name" also:"service"`

	// Where it is reached. Nothing means the node's address.
	Address string `key:"address"`

	// The port that it is reached on. 0 means none.
	Port int `key:"port" min:"0" max:"65535"`

	// Words by which some instances can be asked for: tag.name.service.
	Tags []string `key:"tags"`

	// Names and values that Consul keeps with the instance.
	Meta table `key:"meta"`
}

func defaultServiceKeys() serviceKeys { return serviceKeys{} }

func decodeChecks(sources []*source) (*Checks, error) {
	d, c := newDefiner(sources), &Checks{}
	words := map[string]string{"service": kindService, "services": kindService, "check": kindCheck, "checks": kindCheck}
	refs := make(map[string]place) // of the services that checks name, by id.
	d.each(words, func(b *block) {
		if b.kind == kindService {
			d.addService(c, b)
			return
		}
		before := len(c.Checks)
		d.addCheck(c, b, nil, "")
		for _, def := range c.Checks[before:] {
			if def.Service != "" {
				refs[def.Service] = b.find("service_id")
			}
		}
	})
	d.checkServices(refs)
	if err := d.failed("definitions"); err != nil {
		return nil, err
	}
	c.Ignored = d.ignored
	return c, nil
}

// checkServices reports checks of services that are not defined.
func (d *definer) checkServices(refs map[string]place) {
	if d.partial {
		return
	}
	ids := d.names(kindService)
	for _, id := range sortedKeys(refs) {
		if d.defined(kindService, id) {
			continue
		}
		at := refs[id]
		e := at.source.errorAt(at.at, "check.service_id", fmt.Sprintf("check.service_id: no service has the id %q", clip(id)))
		e.Hint = cmp.Or(didYouMean(id, ids), "define it here: "+at.source.labelText(kindService, clip(id)))
		d.errors = append(d.errors, e)
	}
}

func (d *definer) addService(c *Checks, b *block) {
	nested := b.take("check", "checks")
	keys := defaultServiceKeys()
	f := d.fill(b, &keys)
	def := mesh.ServiceDef{
		ID:   firstOf(keys.ID, b.label, keys.Name),
		Name: firstOf(keys.Name, b.label, keys.ID),
		Port: keys.Port, Address: keys.Address, Tags: keys.Tags, Meta: keys.Meta, Origin: b.origin(),
	}
	f.checkService(&def)
	if f.done() {
		c.Services = append(c.Services, def)
	}
	var checks []*block
	for _, e := range nested {
		checks = append(checks, d.blocks(b.src, e, kindCheck)...)
	}
	for i, inner := range checks {
		// The ids that Consul gives to checks without one.
		id := "service:" + def.ID
		if len(checks) > 1 {
			id = fmt.Sprintf("%s:%d", id, i+1)
		}
		d.addCheck(c, inner, &def, id)
	}
}

var metaName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// The bounds that Consul has for the metadata of a service.
const (
	maxMeta      = 64
	maxMetaValue = 512
)

func (f *filled) checkService(def *mesh.ServiceDef) {
	if def.Name == "" && def.ID == "" {
		f.add(f.block.kind, "service has no name")
		f.hint("write %s", f.block.src.labelText(kindService, "web"))
		return
	}
	if def.Name != def.ID {
		f.checkName("name", def.Name)
	}
	if f.checkName("id", def.ID) {
		f.claimService(def)
	}
	if def.Address != "" && (badText(def.Address) != "" || strings.ContainsAny(def.Address, " /")) {
		f.bad("address", "%q is not an address", def.Address)
	}
	for _, t := range def.Tags {
		if why := badText(t); why != "" {
			f.bad("tags", "%q is not a tag: %s", t, why)
		}
	}
	if len(def.Meta) > maxMeta {
		f.bad("meta", "%d names are given, Consul takes %d", len(def.Meta), maxMeta)
	}
	for _, name := range sortedKeys(def.Meta) {
		switch {
		case !metaName.MatchString(name):
			f.bad("meta", "%q is not a name: want letters, digits, _ and -", name)
		case len(def.Meta[name]) > maxMetaValue:
			f.bad("meta", "the value of %s has %d bytes, Consul takes %d", name, len(def.Meta[name]), maxMetaValue)
		}
	}
}

func (f *filled) claimService(def *mesh.ServiceDef) {
	for _, taken := range []string{mesh.AgentService, "alps-server", "consul"} {
		if def.ID == taken || def.Name == taken {
			f.add(f.block.kind, fmt.Sprintf("service %q is taken: ALPS or Consul registers it", taken))
			return
		}
	}
	f.d.claim(f.block, kindService, def.ID)
}

// checkName holds an id or a name against what Consul and its URLs bear, and
// reports whether it is good. It may come from the label.
func (f *filled) checkName(key, s string) bool {
	why := badText(s)
	if why == "" && key == "id" {
		why = badID(s)
	}
	if why == "" {
		return true
	}
	f.bad(key, "%q: %s", clip(s), why)
	return false
}

// badID says why s, which is good text, cannot be an id, or "". An id is a part
// of paths of Consul's API, which cleans them.
func badID(s string) string {
	if path.Clean("/"+s) == "/"+s {
		return ""
	}
	return "Consul's API cannot reach an id that ends in a slash or holds //, /./ or /../"
}

// maxName bounds names and ids.
const maxName = 128

// badText says why s cannot name something, or "".
func badText(s string) string {
	switch {
	case s == "":
		return "it is empty"
	case len(s) > maxName:
		return fmt.Sprintf("it has %d bytes, at most %d are taken", len(s), maxName)
	case !utf8.ValidString(s):
		return "it is not valid UTF-8"
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "it holds a character that cannot be printed"
	case strings.TrimSpace(s) != s:
		return "it begins or ends with a space"
	}
	return ""
}

// origin is where a block stands, for messages of others.
func (b *block) origin() string { return fmt.Sprintf("%s:%d", b.src.name, b.at.Start.Line) }

// find is where a key of b stands, or where b does.
func (b *block) find(key string) place {
	for _, e := range b.entries {
		if same(e.name, key) {
			return place{b.src, e.at}
		}
	}
	return place{b.src, b.at}
}

// firstOf is the first that is not empty.
func firstOf(texts ...string) string { return cmp.Or(texts...) }
