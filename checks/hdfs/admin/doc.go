// Package admin does what changes an HDFS: it has a DataNode leave and come
// back, and takes a failed directory out of one.
//
//	a, err := admin.New(admin.Options{Site: s})
//	answer, err := a.Decommission(ctx, "dn2:9866")
//
//	NameNode:  JMX ─► host file ─► -refreshNodes ─► JMX: the state ─► ok
//	                      ▲                             │
//	                      └────────── undo ◄── no effect ┘
//	DataNode:  JMX ─► hdfs-site.xml ─► -reconfig start, status ─► JMX: the volumes
//
// It works on this node alone: on each NameNode's machine with that NameNode's
// own file, since a standby keeps states of its own. What a program of Hadoop
// says is no proof, for it says that it was successful also when a name could
// not be resolved; the state that the process itself shows afterwards is. What
// has had no effect is taken back.
//
// Every operation gives a mesh.Answer, also when it refuses, and may be given
// again: what is so already is not done twice. An error is for a question that
// makes no sense, and for nothing else. With DryRun the answer has the change
// and the command lines, and nothing else has happened.
//
// The package imports the packages beside it, and mesh.
package admin
