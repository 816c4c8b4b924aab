// Package judge answers the questions of a plan that mends an HDFS: is it true
// that a disk has failed, may its DataNode leave, has it left without a loss.
//
//	confirm       on the DataNode's node   two sources, and who it is
//	volume-guard  on the DataNode's node   may the directory be dropped
//	may-leave     on each NameNode         blocks are safe, and there is room
//	proven        on each NameNode         it has left, and no block was lost
//
// They change nothing, with one exception: confirm has the DataNode write small
// files into HDFS when only the system says that a disk has failed, because HDFS
// notices a disk by using it. The files are removed again.
//
// What is not known is never taken for good: a NameNode that does not answer
// makes them wait, and a number that is missing makes them refuse. Numbers of a
// whole cluster are the active NameNode's, of beans that are made when they are
// asked for. "Decommissioned" alone proves nothing, for a dead DataNode is that
// at once; the blocks decide.
//
// The package imports mesh, checks and what lies beside it.
package judge
