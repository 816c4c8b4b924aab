package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// ignoredServiceKeys are keys of Consul's service definitions that mean nothing
// to ALPS: service mesh, access and Consul's own DNS.
func ignoredServiceKeys() []string {
	return []string{
		"kind", "tagged_addresses", "ports", "socket_path", "token", "weights", "enable_tag_override",
		"proxy", "connect", "locality", "namespace", "partition", "ai",
	}
}

// ignoredCheckKeys are keys of Consul's check definitions that ALPS does
// without.
func ignoredCheckKeys() []string {
	return []string{
		"token", "shell", "disable_redirects", "output_max_size", "tcp_use_tls", "tls_server_name",
		"success_before_passing", "failures_before_warning", "grpc_use_tls", "h2ping_use_tls",
		"namespace", "partition",
	}
}

// foreignChecks are the keys that make a check of a kind that ALPS does not
// run.
func foreignChecks() []string {
	return []string{
		"docker", "docker_container_id", "grpc", "udp", "h2ping", "os_service", "alias_node", "alias_service",
	}
}

// addForeign reports a check of a kind that Consul has and ALPS does not run,
// and says how to have it all the same.
func (d *definer) addForeign(b *block) bool {
	i := slices.IndexFunc(b.entries, func(e entry) bool { return among(e.name, foreignChecks()) })
	if i < 0 {
		return false
	}
	e := b.entries[i]
	message, hint := foreign(b, e)
	p := b.src.errorAt(e.at, "check."+e.name, "check."+e.name+": "+message)
	p.Hint = hint
	d.errors = append(d.errors, p)
	return true
}

func foreign(b *block, e entry) (message, hint string) {
	const leave = "or leave the definition to Consul's own agent, whose checks ALPS shows as well"
	name := strings.ReplaceAll(fold(e.name), "_", "")
	switch name {
	case "docker", "dockercontainerid":
		container, message := e.text(), "Docker checks are not run yet"
		if container == "" {
			container, message = "<container>", "the check names no container, and Docker checks are not run yet"
		}
		argv := append([]string{"docker", "exec", container}, dockerCommand(b)...)
		return message, fmt.Sprintf("write script = [%s], %s", quotedList(argv), leave)
	case "grpc":
		return "gRPC checks are not run yet", fmt.Sprintf("write script = [%s], %s", quotedList(grpcCommand(b, e)), leave)
	case "aliasnode", "aliasservice":
		return "a check that repeats another is not taken", "write a rule for the other check, " + leave
	default:
		return name + " checks are not run yet", "write a script that asks, " + leave
	}
}

// dockerCommand is what the check would run in its container.
func dockerCommand(b *block) []string {
	for _, e := range b.entries {
		if e.value == nil || !among(e.name, []string{"args", "script_args", "script"}) {
			continue
		}
		v, err := plainValue(e.value)
		if err != nil {
			continue
		}
		if argv, ok := wordsIn(v); ok && len(argv) > 0 {
			return argv
		}
	}
	return []string{"<command>"}
}

// grpcCommand asks the same with grpc_health_probe, the usual program for it.
func grpcCommand(b *block, e entry) []string {
	address, service, _ := strings.Cut(e.text(), "/")
	argv := []string{"grpc_health_probe", "-addr=" + firstOf(address, "<host:port>")}
	if service != "" {
		argv = append(argv, "-service="+service)
	}
	for _, other := range b.entries {
		if other.value == nil || !same(other.name, "grpc_use_tls") {
			continue
		}
		if v, err := plainValue(other.value); err == nil && v.Type() == cty.Bool && !v.IsNull() && v.True() {
			argv = append(argv, "-tls")
		}
	}
	return argv
}

func quotedList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return strings.Join(quoted, ", ")
}
