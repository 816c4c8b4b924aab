description = "Has the DataNode in maintenance for a time, on the NameNode of the node; HDFS then copies none of its blocks. Only where the NameNode reads a JSON host file."
changes     = "One entry of the NameNode's JSON host file, with the moment at which it ends by itself. Without an effect it is taken back."
timeout     = "150s"
dry_run     = true

parameter "duration" {
  description = "How long, such as 90m; 2h when it is not given."
  required    = false
}
