description = "Says how far HDFS has come with copying, and proves in the end that every block has its copies again and none was lost."
changes     = "Nothing."
timeout     = "30s"
