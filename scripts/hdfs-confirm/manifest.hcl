description = "Confirms that a disk of the DataNode on the node has failed, by the system's word and by a second source, and says which DataNode and which directories."
changes     = "Nothing but a small file that it writes into each data directory and removes again."
timeout     = "60s"
