# The checks of pack consul. The settings are the defaults of the probes.

check "consul-leader" {
  probe    = "consul.leader"
  interval = "10s" # without a leader nothing else works: no write, no lock, no job.
  attempts = 2     # an election takes a few seconds and is no problem.
  notes    = "Whether this Consul server knows a leader. Without one nothing can be written: consul operator raft list-peers, the log of the servers."
}

check "consul-peers" {
  probe    = "consul.peers"
  interval = "30s"
  attempts = 2
  notes    = "How many Consul servers live, against how many are needed. Bring the failed one back, or remove it: consul operator raft remove-peer."
  settings = {
    spare = "1" # how many more servers must be able to fail, with three or more.
  }
}

check "consul-members" {
  probe    = "consul.members"
  interval = "30s"
  notes    = "Members that Consul's gossip takes for failed. Bring them back, or say that they have left: consul force-leave."
  settings = {
    warn     = "1"   # so many have failed.
    critical = "off"
  }
}
