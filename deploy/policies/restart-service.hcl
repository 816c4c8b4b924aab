# A service that does not answer is restarted, at most once in half an hour on
# one node. When it still does not answer, nothing is tried a second time: ops
# gets an escalation, which has the owner in it.
#
# Write your check's name, your service, and what must answer.

rule "web-down" {
  check  = "web"
  for    = "10s"
  notify = ["ops"]
  owner  = "platform team, +86 10 5555 0100"
}

policy "restart-service" {
  rule     = "web-down"
  script   = "restart-service"
  args     = ["web", "127.0.0.1:8080"]
  mode     = "observe" # then "auto"
  cooldown = "30m"     # between two restarts of one node
  failures = 1         # the first that does not help is the last
  verify   = "1m"      # six runs of a check every 10 s
}
