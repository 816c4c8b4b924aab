# What `alps agent` needs of Consul with default_policy "deny". It writes
# nothing: what a node reports goes over its own link to a server.
#
#   consul acl policy create -name alps-agent -rules @deploy/consul/agent-policy.hcl

# Jobs and their control documents. They are signed: who changes them stops
# work, but starts none.
key_prefix "alps/" {
  policy = "read"
}

# The hint that there is a new job. Without it jobs start by the watch on KV,
# or a minute later by the poll.
event "alps" {
  policy = "read"
}

# The name and the datacenter of the local Consul agent. For a policy per node,
# say agent "NODE" instead.
agent_prefix "" {
  policy = "read"
}

# Only where join.servers is empty: find the servers by their service.
#service "alps-server" {
#  policy = "read"
#}
#node_prefix "" {
#  policy = "read"
#}
