description = "Takes the failed directories out of the DataNode on the node, without a restart. Refuses a directory that is in service."
changes     = "dfs.datanode.data.dir in the hdfs-site.xml of the node; the DataNode no longer counts the directories as failed."
timeout     = "180s"
dry_run     = true
