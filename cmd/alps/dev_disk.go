package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	hdfs "alps/checks/hdfs/cluster"
	"alps/cmd/alps/internal/dev"
)

func newBreakDisk(a *app) *cobra.Command {
	return diskCommand(&cobra.Command{
		Use:   "break-disk NODE [DISK]",
		Short: "Break a disk of a DataNode of alps dev --hdfs",
		Long: `Break a disk of a DataNode of the HDFS that alps dev --hdfs started: the first
one, or the one that is named by its path or the last part of it. As root it
becomes read-only, as the kernel does with a disk that fails, and HDFS finds out
when it next writes there. Otherwise its directory of blocks is spoilt, which
HDFS finds out by itself within seconds.`,
		Example: "  alps dev break-disk bj-e-hadoop01-11-203\n  alps dev break-disk bj-e-hadoop01-11-203 data2",
	}, a.breakDisk)
}

func newMendDisk(a *app) *cobra.Command {
	return diskCommand(&cobra.Command{
		Use:   "mend-disk NODE [DISK]",
		Short: "Mend what break-disk has broken",
		Long: `Mend the disks of a DataNode of the HDFS that alps dev --hdfs started, or the
one that is named. The DataNode takes a disk back when it is told to.`,
		Example: "  alps dev mend-disk bj-e-hadoop01-11-203",
	}, a.mendDisk)
}

// diskCommand adds what both have: the arguments, and where the cluster is.
func diskCommand(c *cobra.Command, do func(dir, node, disk string) error) *cobra.Command {
	var dir string
	c.Args = cobra.RangeArgs(1, 2)
	c.RunE = func(_ *cobra.Command, args []string) error {
		return do(dir, args[0], strings.Join(args[1:], ""))
	}
	c.Flags().StringVar(&dir, "dir", defaultDevDir(), "where the cluster lies")
	return c
}

func (a *app) breakDisk(dir, node, disk string) error {
	d, err := dev.ReadDisks(dir, node, disk)
	if err != nil {
		return err
	}
	breaks, how := hdfs.ReadOnly, "is read-only; HDFS finds out when it next writes there"
	if os.Geteuid() != 0 {
		breaks, how = hdfs.SpoilCurrent, "is spoilt; HDFS finds out within seconds"
	}
	if _, err := breaks(d.Dirs[0]); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s of %s %s\nmend it: alps dev mend-disk %s\n", d.Dirs[0], node, how, node)
	return err
}

func (a *app) mendDisk(dir, node, disk string) error {
	d, err := dev.ReadDisks(dir, node, disk)
	if err != nil {
		return err
	}
	dirs := d.Dirs
	if disk != "" {
		dirs = dirs[:1]
	}
	for _, path := range dirs {
		broken, err := hdfs.Broken(path)
		if err != nil {
			return err
		}
		if err := hdfs.Mend(path); err != nil {
			return err
		}
		word := "was not broken"
		if broken {
			word = "is mended"
		}
		fmt.Fprintf(a.out, "%s of %s %s\n", path, node, word)
	}
	_, err = fmt.Fprintf(a.out, "have the DataNode take it back: %s dfsadmin -reconfig datanode %s start\n", d.HDFS, d.IPC)
	return err
}

// welcomeHDFS says what can be done to the HDFS, if there is one.
func (a *app) welcomeHDFS(c *dev.Cluster) {
	h := c.HDFS()
	if h == nil {
		return
	}
	names, first := h.NameNodes(), h.DataNodes()[0]
	fmt.Fprintf(a.out, `
A real HDFS runs on %d of the nodes, its NameNode on %s, with %d blocks in it.
Look at it, break a disk, and read here how its DataNode leaves:

  hdfs dfsadmin -report
  alps check list --node %s
  alps dev break-disk%s %[4]s
  alps remedy show

And the way back, when the disk is whole again:

  alps dev mend-disk%[5]s %[4]s
  alps exec -t service=namenode -- '$ALPS hdfs recommission %[6]s'
`, len(h.DataNodes()), names[0].Name, demoBlocks, first.Name, dirFlag(c), first.Key())
}

// dirFlag says which cluster is meant, where it is not the usual one.
func dirFlag(c *dev.Cluster) string {
	if c.Dir() == defaultDevDir() {
		return ""
	}
	return " --dir " + c.Dir()
}
