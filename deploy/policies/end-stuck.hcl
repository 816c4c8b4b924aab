# A process that hangs is ended, and whoever supervises it starts it again: a
# unit with Restart=always, for example. A process that systemd itself can stop
# is better restarted, by restart-service.
#
# Its check must see that it hangs, not that it is gone: a TCP or an HTTP check
# of what it serves. Two minutes are longer than any pause of its own.

rule "worker-stuck" {
  check  = "worker"
  for    = "2m"
  notify = ["ops"]
  owner  = "platform team, +86 10 5555 0100"
}

policy "end-stuck" {
  rule     = "worker-stuck"
  script   = "end-stuck"
  args     = ["/run/worker/worker.pid", "worker"]
  mode     = "observe" # then "auto"
  cooldown = "30m"
  failures = 1
  verify   = "2m" # it has to start
}
