description = "Has the DataNode leave, on the NameNode of the node: writes it into the host file, has the NameNode read it, and sees that its state has changed."
changes     = "One line or entry of the NameNode's exclude or JSON host file; HDFS then copies the blocks of the DataNode. Without an effect it is taken back."
timeout     = "150s"
dry_run     = true
