# What `alps server` needs of Consul with default_policy "deny". Where several
# datacenters are federated, make the policy and its token in the primary one:
# they then hold in all.
#
#   consul acl policy create -name alps-server -rules @deploy/consul/server-policy.hcl

# Jobs, the inventory, the lock of the servers, and the configuration of nodes.
# To show and edit other keys in the browser, allow them here.
key_prefix "alps/" {
  policy = "write"
}

# The session that the servers' lock is held with, and those that the page of a
# node shows.
session_prefix "" {
  policy = "write"
}

# The hint to the nodes that there is a new job.
event "alps" {
  policy = "write"
}

# The members, the catalog's nodes and the health of each: the inventory.
node_prefix "" {
  policy = "read"
}

# The services of each node and their checks: the inventory too.
service_prefix "" {
  policy = "read"
}

# The name and the datacenter of the local Consul agent.
agent_prefix "" {
  policy = "read"
}

# The service by which agents find a server, and its check.
service "alps-server" {
  policy = "write"
}

# Only to list tokens and policies in the browser, without their secrets.
#acl = "read"
