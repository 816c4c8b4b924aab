package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
)

// What this Consul does otherwise than a production one.
//
// Quick: raft_multiplier 1 is what Consul advises for production (its default
// of 5 is for tiny machines). LAN gossip probes every 500 ms with a suspicion
// multiplier of 3, so a killed node of a small cluster is failed after 2 to
// 9 s instead of 5 to 30; quicker probes would see failures on a loaded
// laptop that are none. Joins are tried every second.
//
// Small: no UI, no Connect CA, no gRPC, no peering, and a lower GOGC unless the
// environment names one.
//
// Quiet: no update check. A node that is stopped does not leave, as on an
// estate whose machines are rebooted.
//
// remote exec is on, because ALPS is compared with "consul exec".

// writeConfig makes the node's directories and its configuration, and returns the
// arguments that Consul is started with.
func (n *Node) writeConfig(o Options) (args []string, err error) {
	if err := os.MkdirAll(filepath.Join(n.dir, "data"), 0o750); err != nil {
		return nil, fmt.Errorf("make the directory of %s: %w", n.Name, err)
	}
	files := []struct {
		name   string
		config map[string]any
	}{{"consul.json", n.config()}, {"extra.json", o.ExtraConfig}}
	args = []string{"agent"}
	for _, f := range files {
		if len(f.config) == 0 {
			continue
		}
		b, err := json.MarshalIndent(f.config, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encode the configuration of %s: %w", n.Name, err)
		}
		path := filepath.Join(n.dir, f.name)
		if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
			return nil, fmt.Errorf("write the configuration of %s: %w", n.Name, err)
		}
		args = append(args, "-config-file="+path)
	}
	return args, nil
}

func (n *Node) config() map[string]any {
	gossip := map[string]any{
		"gossip_interval": "100ms", "probe_interval": "500ms", "probe_timeout": "300ms", "suspicion_mult": 3,
	}
	conns := maxConns()
	c := map[string]any{
		"node_name":  n.Name,
		"datacenter": n.Datacenter,
		"server":     n.Server,
		"data_dir":   filepath.Join(n.dir, "data"),

		"bind_addr": n.Addr, "advertise_addr": n.Addr, "client_addr": n.Addr,
		"ports": map[string]any{
			"server": portRPC, "serf_lan": portLAN, "serf_wan": portWAN, "http": portHTTP, "dns": portDNS,
			"https": -1, "grpc": -1, "grpc_tls": -1,
		},
		"retry_join": n.c.serverAddrs(n.Datacenter), "retry_interval": "1s", "retry_interval_wan": "1s",

		"performance": map[string]any{"raft_multiplier": 1},
		"gossip_lan":  gossip,
		"limits": map[string]any{
			"http_max_conns_per_client": conns, "rpc_max_conns_per_client": conns,
		},
		"connect":   map[string]any{"enabled": false},
		"peering":   map[string]any{"enabled": false},
		"ui_config": map[string]any{"enabled": false},
		"log_level": "INFO",
		"telemetry": map[string]any{"disable_hostname": true, "prometheus_retention_time": "60s"},

		"disable_host_node_id":    true, // all nodes share this host.
		"disable_update_check":    true,
		"disable_remote_exec":     false,
		"enable_debug":            false,
		"leave_on_terminate":      false,
		"skip_leave_on_interrupt": true,
	}
	if n.Server {
		servers := map[string]any{
			"bootstrap_expect": len(n.c.serverAddrs(n.Datacenter)),
			"gossip_wan":       maps.Clone(gossip),
			"retry_join_wan":   n.c.foreignServerAddrs(n.Datacenter),
		}
		maps.Copy(c, servers)
	}
	return c
}

// env is the environment of the Consul processes. A GOGC that the caller has
// stays.
func env() []string {
	e := os.Environ()
	if os.Getenv("GOGC") == "" {
		e = append(e, "GOGC=50")
	}
	return e
}
