description = "Says, by what the NameNode on the node knows, whether HDFS can do without the DataNode: its blocks are safe and there is room for them."
changes     = "Nothing."
timeout     = "30s"

parameter "want" {
  description = "Maintenance, where it is not to leave but to be maintained."
  required    = false
}
