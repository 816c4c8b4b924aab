description = "Ends one process that is stuck, and proves that it is gone; what starts it again is not its business."
changes     = "The process gets SIGTERM, and SIGKILL when it is still there after the grace; what it holds in memory is lost."
timeout     = "30s"
dry_run     = true

parameter "process" {
  description = "The absolute path of its pid file, or its whole command line with * for what differs."
  required    = true
}
parameter "user" {
  description = "The user that it runs for; a command line needs one."
}
parameter "seconds" {
  description = "How long it has between SIGTERM and SIGKILL; 10 when nothing is said."
}
