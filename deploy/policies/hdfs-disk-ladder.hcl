# A disk of an HDFS DataNode breaks: the gentlest way that is enough. Take this
# one or hdfs-disk-decommission.hcl, not both. The rule is in hdfs-disk.hcl.
#
#   1  volume       the DataNode goes on without the disk; HDFS copies its blocks
#   2  maintenance  the DataNode may be taken down for two hours, and nothing is
#                   copied; only where the NameNode reads a JSON host file
#   3  decommission the DataNode leaves. This is also the way for one that has shut
#                   itself down because of the disk (tolerated 0): that it is
#                   Decommissioned at once says nothing, the blocks must be back
#
# The way back, when the disk was changed, by the way that was gone:
#
#   alps exec -t NODE -- '$ALPS hdfs add-volume DIRECTORY'
#   alps exec -t service=namenode -- '$ALPS hdfs recommission NAME:PORT'

policy "hdfs-disk-ladder" {
  rule = "hdfs-disk"
  mode = "approve" # then "auto"

  group           = "hdfs" # one at a time with other policies of HDFS; a drain of hours holds up no other
  cooldown        = "24h"
  per_hour        = 2
  per_day         = 4
  storm           = 3
  storm_window    = "10m"
  max_unavailable = "50%"
  failures        = 2

  rung "volume" {
    confirm "two-sources" { script = "hdfs-confirm" }
    guard "volume" { script = "hdfs-volume-guard" }
    step "drop" {
      script = "hdfs-drop-volume"
      undo   = "hdfs-add-volume"
    }
    prove "blocks" {
      script = "hdfs-proven"
      args   = ["volume"]
      on     = "service=namenode"
      within = "12h"
    }
  }

  rung "maintenance" {
    confirm "two-sources" { script = "hdfs-confirm" }
    guard "may-leave" {
      script = "hdfs-may-leave"
      args   = ["maintenance"]
      on     = "service=namenode"
    }
    step "maintain" {
      script = "hdfs-maintenance"
      args   = ["2h"]
      on     = "service=namenode"
      undo   = "hdfs-recommission"
    }
    prove "maintenance" {
      script = "hdfs-proven"
      args   = ["maintenance"]
      on     = "service=namenode"
    }
  }

  rung "decommission" {
    confirm "two-sources" { script = "hdfs-confirm" }
    guard "may-leave" {
      script = "hdfs-may-leave"
      on     = "service=namenode"
    }
    step "exclude" {
      script = "hdfs-decommission"
      on     = "service=namenode"
      undo   = "hdfs-recommission"
      within = "3m"
    }
    prove "blocks" {
      script = "hdfs-proven"
      on     = "service=namenode"
      within = "24h"
    }
  }
}
