// Package clean removes old files by a rule, and nothing else: it is what a
// disk that is almost full is given, by hand or by a policy.
//
//	rule := clean.Rule{Dir: "/var/log/hdfs", Match: []string{"*.log.*"}, Days: 7, Keep: 2}
//	report, err := clean.Run(ctx, clean.Options{Rule: rule, Now: time.Now()})
//
// What is left alone, whatever the rule says: what was written today, what
// a process has open, what is no regular file or has another name elsewhere,
// and what lies behind a symbolic link or on another file system. Directories
// stay.
//
// The tree is walked by handles of directories and no symbolic link is
// followed, so that whoever swaps a directory during the walk leads it nowhere.
// Right before a file is removed it is looked at again, and it goes only when
// it is the very one that was found, unchanged. What may slip through is a file
// that takes the name of another in the same directory within that moment.
//
// Whether a file is open is read once from /proc/*/fd, and asked of the kernel
// again for each file by a lease, which it gives only for what nobody has open.
// Where neither can tell, as for a user who may not look at the processes of
// others on a file system without leases, the file stays.
//
// A dry run is the same code without the last call, so its list is the list.
// The package is for Linux and must not import more than mesh.
package clean
