// Package site reads the configuration of Hadoop that a node has, core-site.xml
// and hdfs-site.xml of one directory, into plain values.
//
//	s, err := site.Load("")              // $HADOOP_CONF_DIR, or /etc/hadoop/conf
//	nns, err := s.NameNodes()            // one, or those of a nameservice
//	dirs, err := s.DataDirs()            // [DISK]file:///data/1 and so on
//	s.Get("dfs.nameservices")
//
// Hadoop's own defaults count for what is asked by name here, and for nothing
// else: Get of a property that no file has is empty. Every name of a machine
// and every port comes from the files, since clusters that have grown old keep
// the ports that they were born with.
//
// The package opens files, never a connection, and must not import anything of
// ALPS but mesh.
package site
