# The configuration of `alps agent`. Only data_dir must be set; a line that
# begins with "# " and holds a key shows its default. docs/config.md explains
# every key.

data_dir = "/var/lib/alps"
# node_name = ""

# log_level = "info"   # trace, debug, info, warn, error
# log_json = false

consul {
  # address = "127.0.0.1:8500"
  # token = ""         # or token_file
  # token_file = ""
  # datacenter = ""
}

join {
  # token = ""         # or token_file; looked at once, to enrol
  # token_file = ""
  # servers = []       # empty: found through Consul
}

exec {
  # enabled = "auto"   # auto: once a trust root is installed; off: never
  # trust_root = "/var/lib/alps/identity/root.pub"
  # run_as = []        # empty: the agent's own user
  # env = {}           # { HADOOP_CONF_DIR = "/etc/hadoop/conf" }
  # slots = 4
  # queue = 64
  # output_keep = "24h"
  # workdir = "/var/lib/alps/work"
}

fact {
  # interval = "5m"
}

check {
  # dir = "/var/lib/alps/checks.d"   # docs/definitions.md
  # concurrency = 8
  # packs = ["host", "consul", "hdfs"] # []: none
}

dns {
  # listen = ""        # empty: off; 127.0.0.1:53 needs the right to open it
  # domains = ["alps"]
  # forward = []       # empty: the servers in resolv_conf; ["none"]: nobody
  # ttl = "5s"
  # negative_ttl = "2s"
  # bare_names = true
  # resolv_conf = "/etc/resolv.conf"
}

control {
  # socket = "/var/lib/alps/agent.sock"
}
