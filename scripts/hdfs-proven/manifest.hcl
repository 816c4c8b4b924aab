description = "Says how far HDFS has come with copying, and proves in the end that every block has its copies again and none was lost."
changes     = "Nothing."
timeout     = "30s"

parameter "want" {
  description = "How the DataNode must be: decommissioned, maintenance or volume. Decommissioned when it is not given."
  required    = false
}
