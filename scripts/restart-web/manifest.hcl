description = "Restarts the service web on the node, by the first of: the given control script, systemd, $ALPS_WEB_RESTART, /etc/alps/web.restart."
changes     = "The process of web is ended and started again; requests that it is serving are lost."
timeout     = "30s"

parameter "control" {
  description = "The absolute path of a program that restarts web on this node and exits 0 when it has."
  required    = false
}
