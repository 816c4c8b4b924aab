// Package hdfs is the pack of checks of HDFS: the disks of a DataNode, what the
// DataNode says of itself, and what a NameNode knows of all.
//
//	site (XML of this node) ──► whom to ask
//	volume (this node's disks), jmx (DataNode, NameNodes) ──► checks.Result
//	                                                     └──► judge: mesh.Answer
//
// A check applies where the configuration of Hadoop on this node says that there
// is something to look at: its directories of blocks are here, or it is one of
// the NameNodes. What counts a whole cluster is counted where the active
// NameNode runs; elsewhere those checks pass and say why.
//
// README.md explains each check and where its thresholds come from; pack.hcl
// has them. Package judge has the questions of remediation plans. The package
// only reads, beside a small file on each disk that it removes again, and
// imports mesh and checks.
package hdfs
