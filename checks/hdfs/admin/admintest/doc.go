// Package admintest holds the tests of package admin on a real HDFS, and no
// code. They are apart from the others because they start one: three minutes
// for all of them. Run them with `make test-hdfs`, or
//
//	go test ./checks/hdfs/admin/admintest
//
// The package imports nothing.
package admintest
