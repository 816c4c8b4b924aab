# A disk of an HDFS DataNode is broken, by what the system says of it. What is
# done about it is in hdfs-disk-decommission.hcl or hdfs-disk-ladder.hcl: take one
# of the two.

rule "hdfs-disk" {
  check    = "hdfs-volumes"
  severity = "critical"
  summary  = "a disk of an HDFS DataNode has failed"
  notify   = ["ops"]
  owner    = "platform team, +86 10 5555 0100"
}
