# The checks of pack hdfs. The settings are the defaults of the probes; README.md
# says where each comes from. conf is the directory of Hadoop's configuration:
# empty means the agent's HADOOP_CONF_DIR, or /etc/hadoop/conf.

check "hdfs-volumes" {
  probe    = "hdfs.volumes"
  interval = "30s"
  timeout  = "25s"
  notes    = "The disks of the DataNode, tried by a write to each: HDFS itself does not notice a disk that is only read. Look at dmesg, smartctl -a, mount; a failed disk is a case for the policy hdfs-disk-decommission."
  settings = {
    conf    = ""
    timeout = "10s" # after which a directory is said to hang.
    mounts  = ""    # own: none on the file system of /. /data/1=/dev/sdb1: what must be mounted.
  }
}

check "hdfs-datanode" {
  probe    = "hdfs.datanode"
  interval = "30s"
  notes    = "What the DataNode of this node says: failed volumes, volumes in service, its link to each NameNode. The log of the DataNode says why it stopped."
  settings = {
    conf               = ""
    warn               = "1"    # failed volumes; critical is beyond what is tolerated.
    heartbeat_warn     = "30s"
    heartbeat_critical = "120s"
  }
}

check "hdfs-namenode" {
  probe    = "hdfs.namenode"
  interval = "30s"
  timeout  = "20s"
  attempts = 2 # a failover takes a few seconds.
  notes    = "The NameNode of this node: safe mode, memory, waiting calls, age of the checkpoint. hdfs dfsadmin -safemode get, the log of the NameNode and of who makes its checkpoints."
  settings = {
    conf                = ""
    heap_warn           = "80%"
    heap_critical       = "90%"
    queue_warn          = "3s"
    queue_critical      = "5s"
    checkpoint_warn     = "2" # times the period, or the transactions, after which one is due.
    checkpoint_critical = "4"
  }
}

check "hdfs-ha" {
  probe    = "hdfs.ha"
  interval = "30s"
  timeout  = "20s"
  attempts = 2
  notes    = "Whether exactly one NameNode is active and the others answer. hdfs haadmin -getAllServiceState; the ZKFC's log."
  settings = { conf = "" }
}

check "hdfs-blocks" {
  probe    = "hdfs.blocks"
  interval = "30s"
  timeout  = "20s"
  notes    = "Blocks that are missing, corrupt, or have too few copies. hdfs fsck / -list-corruptfileblocks. Wipe no disk while a block is missing: it may hold the last copy."
  settings = {
    conf           = ""
    missing        = "1"
    corrupt        = "1"
    under_warn     = "1%" # of all blocks.
    under_critical = "10%"
  }
}

check "hdfs-datanodes" {
  probe    = "hdfs.datanodes"
  interval = "30s"
  timeout  = "20s"
  notes    = "DataNodes that are dead or stale, and volumes that have failed. hdfs dfsadmin -report -dead."
  settings = {
    conf         = ""
    warn         = "10%" # dead or stale.
    critical     = "30%"
    dead_warn    = "1"
    volumes_warn = "1"   # failed volumes on all of them.
  }
}

check "hdfs-capacity" {
  probe    = "hdfs.capacity"
  interval = "60s"
  timeout  = "20s"
  notes    = "How full HDFS is, of what the DataNodes give to it. Delete, or add DataNodes, before a lost one leaves no room for its blocks: hdfs dfs -du -h /, hdfs dfs -expunge."
  settings = {
    conf     = ""
    warn     = "75%"
    critical = "80%"
  }
}

check "hdfs-files" {
  probe    = "hdfs.files"
  interval = "10m"
  timeout  = "20s"
  notes    = "Many small files cost the NameNode its memory. Find their owners: hdfs dfs -count -q -h /user/*."
  settings = {
    conf     = ""
    files    = "1000000" # with fewer nobody minds.
    smallest = "off"     # average size of a block, such as 16MiB.
  }
}
