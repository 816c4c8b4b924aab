description = "Says whether the DataNode on the node can do without its failed directories."
changes     = "Nothing."
timeout     = "30s"
