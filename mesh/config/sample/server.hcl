# The configuration of `alps server`. Only data_dir must be set; a line that
# begins with "# " and holds a key shows its default. docs/config.md explains
# every key.

data_dir = "/var/lib/alps-server"
# cluster = "alps"

# log_level = "info"   # trace, debug, info, warn, error
# log_json = false

consul {
  # address = "127.0.0.1:8500"
  # token = ""         # or token_file
  # token_file = ""
  # datacenter = ""
}

api {
  # listen = "127.0.0.1:8780"
}

link {
  # listen = "0.0.0.0:8781"
  # advertise = ""     # empty: Consul's address of this node
}

tls {
  # ca_cert = "/var/lib/alps-server/tls/ca.pem"
  # ca_key = "/var/lib/alps-server/tls/ca-key.pem"
  # cert = "/var/lib/alps-server/tls/server.pem"
  # key = "/var/lib/alps-server/tls/server-key.pem"
}

job {
  # timeout = "2h"
  # expiry = "1h"
  # max_targets = 20000
}

keys {
  # root = ""          # the public half of the root key: see alps keys init
  # server_key = ""    # the server's own key, and
  # grant = ""         # what the root lets it sign
  # revoked = ""       # grants that the root has taken back
}

store {
  # path = "/var/lib/alps-server/alps.db"
}

alert {
  # dir = "/var/lib/alps-server/rules.d"   # docs/definitions.md
  # reopen = "10m"
  # agent_lost = "30s"
}

remedy {
  # scripts = "/var/lib/alps-server/scripts"
  # mode = "auto"      # what a policy may do at most: auto, observe, off
}

zone {
  # node_hold = "30s"
  # agent_lost_hold = "10m"
}

leader {
  # key = "alps/leader"
  # ttl = "10s"
}
