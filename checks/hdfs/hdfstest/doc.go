// Package hdfstest holds no code but tests: those of the probes and judges of
// pack hdfs on a real HDFS, whose disks break. What they do with answers of all
// kinds is tested beside them, without one. Nothing imports it.
package hdfstest
