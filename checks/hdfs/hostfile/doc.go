// Package hostfile edits the files by which a NameNode knows which DataNodes
// have to leave:
//
//	target := hostfile.Target{Entry: hostfile.Entry{Host: "dn2", Port: 9866}}
//	change, err := hostfile.Add(ctx, hostfile.Options{Path: path, Format: hostfile.Exclude}, target)
//
// Hadoop reads either of two kinds. The exclude file has one host, IP or
// host:port in a line. The JSON file of CombinedHostFileManager has an object
// for each host, with its state. A JSON file that Hadoop cannot read counts as
// an empty list, which puts every node back to work without a word; so one that
// is broken is refused here and never written over.
//
// Foreign lines and entries stay byte for byte, in their order. All operations
// may run twice: the second time nothing changes. How the file is replaced is
// a matter of package edit.
//
// The package imports checks/hdfs/edit and mesh.
package hostfile
