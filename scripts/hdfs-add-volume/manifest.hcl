description = "Puts directories that were dropped, or had failed, back into the DataNode on the node, with their blocks and without a restart."
changes     = "dfs.datanode.data.dir in the hdfs-site.xml of the node."
timeout     = "180s"
dry_run     = true
