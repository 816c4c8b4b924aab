package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"alps/checks/hdfs/admin"
	"alps/mesh"
)

// hdfsHelp is what all verbs of HDFS have in common.
const hdfsHelp = `It reads the configuration of Hadoop in --conf, else in $HADOOP_CONF_DIR, else in
/etc/hadoop/conf, and needs the program hdfs in PATH. The same command may be
given again: what is so already is not done twice.

The last line is one JSON object. Its verdict is ok when it was done and the
state was seen afterwards, no when it was refused or had no effect, wait when it
may be tried again, skip when it is no case for it. With --dry-run, or
ALPS_DRY_RUN=1, it has the change and the command, and nothing was done.

Exit codes:
  0    there is an answer, whatever its verdict
  2    wrong usage`

type hdfsFlags struct {
	conf            string
	dryRun          bool
	create          bool
	settle, timeout time.Duration
	length          time.Duration
}

func newHDFS(a *app) *cobra.Command {
	return group("hdfs", "Have a DataNode or a directory of one leave an HDFS, and come back",
		newHDFSDecommission(a), newHDFSRecommission(a), newHDFSMaintenance(a), newHDFSDropVolume(a), newHDFSAddVolume(a))
}

func newHDFSDecommission(a *app) *cobra.Command {
	var f hdfsFlags
	c := a.hdfsVerb(&f, &cobra.Command{
		Use:   "decommission DATANODE",
		Short: "Have a DataNode leave, on the NameNode of this node",
		Long: `Have a DataNode leave, as its NameNode calls it (host:port), on the NameNode of
this node: it is written into that NameNode's exclude file, or JSON host file,
the NameNode reads it, and its state is looked at. What has no effect is taken
back. Each NameNode has a file and states of its own: give it on all of them.

` + hdfsHelp,
		Example: "  alps hdfs decommission dn2:9866\n  alps hdfs decommission dn2:9866 --dry-run",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, ad *admin.Admin, args []string) (mesh.Answer, error) {
		return ad.Decommission(ctx, args[0])
	})
	c.Flags().BoolVar(&f.create, "create", false, "make the exclude file when it is missing")
	return c
}

func newHDFSRecommission(a *app) *cobra.Command {
	var f hdfsFlags
	return a.hdfsVerb(&f, &cobra.Command{
		Use:   "recommission DATANODE",
		Short: "Put a DataNode back to work, on the NameNode of this node",
		Long: `Put a DataNode back to work on the NameNode of this node, from a decommission or
from maintenance: every line that means it alone is taken out of the host file.

` + hdfsHelp,
		Example: "  alps hdfs recommission dn2:9866",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, ad *admin.Admin, args []string) (mesh.Answer, error) {
		return ad.Recommission(ctx, args[0])
	})
}

func newHDFSMaintenance(a *app) *cobra.Command {
	var f hdfsFlags
	c := a.hdfsVerb(&f, &cobra.Command{
		Use:   "maintenance DATANODE --for DURATION",
		Short: "Have a DataNode in maintenance for a time, on the NameNode of this node",
		Long: `Have a DataNode in maintenance for a time, on the NameNode of this node. Its blocks
are not copied meanwhile. Only a NameNode with a JSON host file knows
maintenance; for any other one the verdict is skip.

` + hdfsHelp,
		Example: "  alps hdfs maintenance dn2:9866 --for 2h",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, ad *admin.Admin, args []string) (mesh.Answer, error) {
		return ad.Maintenance(ctx, args[0], f.length)
	})
	c.Flags().DurationVar(&f.length, "for", 0, "how long: 1m to 720h")
	_ = c.MarkFlagRequired("for") // it is there.
	return c
}

func newHDFSDropVolume(a *app) *cobra.Command {
	var f hdfsFlags
	return a.hdfsVerb(&f, &cobra.Command{
		Use:   "drop-volume DIR...",
		Short: "Take failed directories out of the DataNode of this node",
		Long: `Take failed directories out of the DataNode of this node, without a restart: out
of dfs.datanode.data.dir in its hdfs-site.xml, and out of the DataNode. Refused
for a directory in service, for the last one, and where the DataNode would not
start again because it tolerates as many failures as it has directories left.

` + hdfsHelp,
		Example: "  alps hdfs drop-volume /data/3",
		Args:    cobra.MinimumNArgs(1),
	}, func(ctx context.Context, ad *admin.Admin, args []string) (mesh.Answer, error) {
		return ad.DropVolumes(ctx, args...)
	})
}

func newHDFSAddVolume(a *app) *cobra.Command {
	var f hdfsFlags
	return a.hdfsVerb(&f, &cobra.Command{
		Use:   "add-volume DIR...",
		Short: "Put directories back into the DataNode of this node",
		Long: `Put directories that were dropped, or have failed, back into the DataNode of this
node, once their disks are whole again: where they stood before, with their
blocks, without a restart.

` + hdfsHelp,
		Example: "  alps hdfs add-volume /data/3",
		Args:    cobra.MinimumNArgs(1),
	}, func(ctx context.Context, ad *admin.Admin, args []string) (mesh.Answer, error) {
		return ad.AddVolumes(ctx, args...)
	})
}

// hdfsVerb gives a command the flags of all of them, and prints its answer.
func (a *app) hdfsVerb(f *hdfsFlags, c *cobra.Command, do func(context.Context, *admin.Admin, []string) (mesh.Answer, error)) *cobra.Command {
	fl := c.Flags()
	fl.StringVar(&f.conf, "conf", "", "directory of hdfs-site.xml")
	dryRun(c, &f.dryRun)
	fl.DurationVar(&f.settle, "settle", 15*time.Second, "how long the state may take to show")
	fl.DurationVar(&f.timeout, "timeout", 90*time.Second, "bound for the whole of it; taking back has its own")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
		defer cancel()
		ad, stop, err := admin.Prepare(f.conf, admin.Options{
			DryRun: f.dryRun, Create: f.create, Settle: f.settle,
		})
		switch {
		case err != nil:
			return err
		case stop != nil:
			return a.printAnswer(*stop)
		}
		answer, err := do(ctx, ad, args)
		if err != nil {
			return usageError{err: err}
		}
		return a.printAnswer(answer)
	}
	return c
}

// printAnswer prints the one line that a plan reads.
func (a *app) printAnswer(answer mesh.Answer) error {
	if _, err := a.out.Write(answer.Line()); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}
