description = "Puts the DataNode back to work, on the NameNode of the node, from a decommission or from maintenance."
changes     = "The lines or entries of the NameNode's host file that mean this DataNode alone."
timeout     = "150s"
dry_run     = true

parameter "duration" {
  description = "Not used: who undoes hdfs-maintenance gives the same arguments."
  required    = false
}
