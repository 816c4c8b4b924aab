description = "Confirms that a disk of the DataNode on the node has failed, by the system's word and by a second source, and says which DataNode and which directories."
changes     = "Nothing, but for small files that are written and removed again: one in each data directory, and where HDFS has not noticed a few in HDFS below /tmp."
timeout     = "60s"
