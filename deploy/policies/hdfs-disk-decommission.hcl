# A disk of an HDFS DataNode breaks: the DataNode leaves the cluster, every block
# is copied from it first, and only when that is proven it is over. The incident
# stays open until somebody has changed the disk. Then the way back is, with the
# DataNode's name and port as the NameNode shows them:
#
#   alps exec -t service=namenode -- '$ALPS hdfs recommission NAME:PORT'
#
# It is a policy of big steps: all blocks of all disks of that host move. Where
# one disk of many is no reason for that, take hdfs-disk-ladder.hcl instead, not
# both. The rule is in hdfs-disk.hcl.

policy "hdfs-disk-decommission" {
  rule = "hdfs-disk"
  mode = "approve" # then "auto"

  group           = "hdfs" # one at a time with other policies of HDFS; a drain of hours holds up no other
  cooldown        = "24h" # one DataNode is not worth two attempts a day
  per_hour        = 2
  per_day         = 2
  storm           = 3 # three disks at once are a controller, or a wrong check
  storm_window    = "10m"
  max_unavailable = "50%"
  failures        = 2

  # What the system says of the disk, and what HDFS itself or the kernel says.
  confirm "two-sources" { script = "hdfs-confirm" }

  # Every NameNode answers, exactly one is active, no block is missing, no other
  # DataNode is away, and those that stay have room, racks and copies enough.
  guard "may-leave" {
    script = "hdfs-may-leave"
    on     = "service=namenode"
  }

  # One line in the exclude file of every NameNode, and a refresh of each.
  step "exclude" {
    script = "hdfs-decommission"
    on     = "service=namenode"
    undo   = "hdfs-recommission"
    within = "3m"
  }

  # Decommissioned on every NameNode, and every block has its copies again. That
  # takes as long as the disks are large.
  prove "blocks" {
    script = "hdfs-proven"
    on     = "service=namenode"
    within = "24h"
  }
}
