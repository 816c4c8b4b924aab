# What `alps agent` needs of Consul with default_policy "deny". It writes no
# key: what a node reports goes over its own link to a server.
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

# The agent itself, and the checks that come with ALPS.
service "alps-agent" {
  policy = "write"
}

# Each service that agents register for you: one block like this, or a prefix.
#service "web" {
#  policy = "write"
#}
# Checks of the node itself, which belong to no service, need this too.
#node_prefix "" {
#  policy = "write"
#}

# Names that are asked for while no ALPS server answers, and the servers where
# join.servers is empty.
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
