# The checks of pack host. The settings are the defaults of the probes.
# Half a minute: a disk that fills at 1 GB/s and a node that swaps are seen in
# time, and a check costs no more than a few reads of /proc.

check "host-disk" {
  probe    = "host.disk"
  interval = "30s"
  notes    = "Room on each file system. Delete or move data before writes fail: df -h, du -xsh, docs of pack host."
  settings = {
    warn           = "90%"    # used, on file systems smaller than large.
    critical       = "95%"
    large          = "200GB"  # from this size on what is left counts, not the share.
    large_warn     = "20GB"
    large_critical = "10GB"
    exclude        = ""       # mount points that are left out: /mnt/* /snap/*
  }
}

check "host-inodes" {
  probe    = "host.inodes"
  interval = "30s"
  notes    = "Inodes on each file system: without one no file can be made, however much room there is. Look for a directory of many small files."
  settings = {
    warn     = "90%"
    critical = "95%"
    exclude  = ""
  }
}

check "host-memory" {
  probe    = "host.memory"
  interval = "30s"
  attempts = 2 # a burst that ends by itself is nobody's problem.
  notes    = "Memory that programs can still get without swapping. Look for the largest: ps aux --sort -rss."
  settings = {
    warn     = "15%" # available, of all memory.
    critical = "5%"
  }
}

check "host-load" {
  probe    = "host.load"
  interval = "30s"
  attempts = 3 # load is an average already, but a backup is not an incident.
  notes    = "Tasks that run or wait for a disk, for each core, over five minutes. Look for what runs (top) and what waits (ps aux, state D)."
  settings = {
    warn     = "3"
    critical = "off" # a busy node works; whoever knows better sets a number.
  }
}

check "host-processes" {
  probe    = "host.processes"
  interval = "30s"
  notes    = "Tasks against the kernel's limit, and zombies. At the limit nobody can log in any more."
  settings = {
    warn     = "80%" # of pid_max or threads-max, whichever is less.
    critical = "95%"
    zombies  = "100" # more than so many are a parent that does not wait.
  }
}

check "host-clock" {
  probe    = "host.clock"
  interval = "30s"
  attempts = 2 # a clock that is being set may be off once.
  notes    = "The clock against the ALPS server's, or, without one, whether the kernel says that it is being kept right. Look at chronyc tracking or timedatectl."
  settings = {
    warn     = "1s" # Kerberos and logs bear more; ordering events does not.
    critical = "1m" # jobs are refused from two minutes on.
  }
}
