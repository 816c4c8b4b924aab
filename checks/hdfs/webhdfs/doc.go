// Package webhdfs writes small files into HDFS and removes them, by HTTP and
// without a program of Hadoop.
//
//	c := webhdfs.New(webhdfs.Options{})
//	err := c.Create(ctx, "dn1:9864", webhdfs.File{Path: "/tmp/x/1", NameNode: "nn1:8020", Copies: 1})
//	err = c.Remove(ctx, "nn1:9870", "/tmp/x")
//
// A write goes to a DataNode of the caller's choice: its process is then the
// client of HDFS, and a client that is a DataNode gets the first copy itself.
// That is the whole purpose: it makes a certain DataNode write.
//
// It is done in the name of HADOOP_USER_NAME, or else of who runs the process,
// as Hadoop's own programs do it. There is no login: where Kerberos is on, HDFS
// refuses.
//
// Every call has its own deadline, and sends nobody elsewhere: who is asked for
// a write does it, or it is not done.
//
// The package imports nothing of ALPS but what lies beside it.
package webhdfs
