description = "Removes old log files of a directory by a rule: never today's, never one that is open, nothing outside."
changes     = "Log files of the directory and of those below it are gone, the oldest first."
timeout     = "60s"
dry_run     = true

parameter "directory" {
  description = "Where the logs lie, an absolute path."
  required    = true
}
parameter "match" {
  description = "What their names look like, patterns with commas between: *.log.*,*.out.*"
  required    = true
}
parameter "days" {
  description = "How many days ago a file was last written."
  required    = true
}
parameter "keep" {
  description = "How many of each pattern stay, the newest; 1 when nothing is said."
}
parameter "free" {
  description = "When it is enough: so much was freed (10G), or that share of the disk is free (20%). Nothing means never."
}
