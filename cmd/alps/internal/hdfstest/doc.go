// Package hdfstest holds no code but tests: those of the whole, a cluster of
// ALPS with a real HDFS beside it.
//
//	alps dev break-disk ──► a disk of a DataNode ──► HDFS, its agent, the server
//
// It is apart from the other tests of the whole because these need Java and
// Hadoop's jars. Nothing imports it.
package hdfstest
