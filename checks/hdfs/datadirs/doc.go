// Package datadirs takes directories out of dfs.datanode.data.dir in a node's
// hdfs-site.xml, and puts them back where they were:
//
//	change, err := datadirs.Drop(ctx, datadirs.Options{Path: file}, "/data/3")
//	change, err = datadirs.Add(ctx, datadirs.Options{Path: file}, "/data/3")
//
// Only the text of that one value changes; comments, order and every other
// property stay byte for byte. The value as it was before the first Drop is
// kept beside the file, with the ending .alps-volumes: Add takes from there what
// kind of storage a directory is and where it stood, and adds nothing else.
//
// How the file is replaced is a matter of package edit. This package imports
// that one and mesh.
package datadirs
