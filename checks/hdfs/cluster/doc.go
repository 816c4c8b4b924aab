// Package cluster starts a real HDFS on this machine, each daemon a process of
// its own, and breaks its disks: for every test whose point is what HDFS does,
// and for `alps dev --hdfs`.
//
//	c, err := cluster.Start(ctx, cluster.Options{})
//	defer c.Close()
//	digest, err := c.Put(ctx, "/file", 8, 3)
//	mend, err := cluster.ReadOnly(c.DataNodes()[0].DataDirs[0])
//
// A test says cluster.ForTest(t, opts) and needs no Close. It needs the jars
// (`make hadoop`) and a Java of version 17 or later.
//
// There are two ways to have several machines on one:
//
//	Loopback     everything on 127.0.0.1, ports by the kernel. Needs no root. To
//	             the NameNode all are one host: it can be told which one is
//	             meant by name:port alone, and there are no racks.
//	Namespaces   a network namespace for each DataNode, on a bridge with the
//	             NameNodes. Needs root. Equal ports on different addresses, as
//	             on real machines.
//
// Everything lies in one directory, which is emptied by the next start:
//
//	<node>/conf/      what HADOOP_CONF_DIR names: core-site.xml, hdfs-site.xml, …
//	<node>/bin/hdfs   the command of that name, as a real node has it
//	<node>/data1 …    what a DataNode takes for disks
//	net/<node>        its network namespace
//	hosts             the names of all nodes, for every JVM
//	pids.json         who was started
//
// A starter that was killed leaves processes, mounts, namespaces and a bridge
// behind. Start and Sweep find them by the directory: the processes by their
// record, the mounts because they lie below it, the links because their alias
// is its path.
//
// Where it differs from a production HDFS is written down in config.go: only
// what makes it quick and small.
//
// The package must not import anything of ALPS but mesh and what lies below it.
package cluster
