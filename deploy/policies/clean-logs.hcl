# A disk that is almost full loses old logs, until a fifth of it is free. The
# check host-disk is of the pack host, and looks at every file system: when it
# is another one that is full, there is nothing to remove, and ops hears of it.
#
# See first what would go, on the node:
#
#   alps clean logs /var/log/hdfs --match '*.log.*,*.out.*' --days 7 --keep 2 --free 20% --dry-run

rule "disk-full" {
  check  = "host-disk"
  status = ["warning", "critical"]
  notify = ["ops"]
  owner  = "platform team, +86 10 5555 0100"
}

policy "clean-logs" {
  rule     = "disk-full"
  script   = "clean-logs"
  args     = ["/var/log/hdfs", "*.log.*,*.out.*", "7", "2", "20%"]
  mode     = "observe" # then "auto"
  timeout  = "1m"
  verify   = "2m"      # the check looks every 30 s
  cooldown = "1h"      # logs that are back by then are somebody's bug
  failures = 1         # what has no old logs left will have none tomorrow
}
