description = "Restarts a service of the node, and waits until it answers."
changes     = "The processes of the service are ended and started again; what they are serving is lost."
timeout     = "30s"
dry_run     = true

parameter "service" {
  description = "The name of a systemd service, or the absolute path of a program that restarts it and exits 0 when it has."
  required    = true
}
parameter "health" {
  description = "What must answer afterwards: host:port, or a URL that answers with 2xx or 3xx. Nothing means that its restart is enough."
}
parameter "seconds" {
  description = "How long that may take; 20 when nothing is said."
}
