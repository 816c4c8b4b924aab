package hdfs

import (
	"context"
	_ "embed" // pack.hcl is part of the binary.
	"strings"

	"alps/checks"
	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/judge"
	"alps/checks/hdfs/volume"
	"alps/checks/hdfs/webhdfs"
)

//go:embed pack.hcl
var definitions string

// Options say where to look.
type Options struct {
	// Conf is the directory of Hadoop's configuration; empty means
	// $HADOOP_CONF_DIR, or /etc/hadoop/conf. The setting conf of a check wins.
	Conf string
	// Child is the command that calls volume.Child for the directory which is
	// its last argument.
	Child []string
	// Root is the directory that holds proc, sys and dev; empty means "/".
	Root string
	// JMX says how NameNodes and DataNodes are asked.
	JMX jmx.Options
}

// pack is what the probes share.
type pack struct {
	conf    string
	jmx     *jmx.Client
	volumes *volume.Prober
}

// New makes the pack. It looks at nothing yet.
func New(o Options) (checks.Pack, error) {
	v, err := volume.New(volume.Options{Root: o.Root, Child: o.Child})
	if err != nil {
		return checks.Pack{}, err
	}
	p := &pack{conf: o.Conf, jmx: jmx.New(o.JMX), volumes: v}
	out, err := checks.NewPack("hdfs", definitions, map[string]checks.Probe{
		"volumes":   checks.ProbeFunc(p.disks),
		"datanode":  checks.ProbeFunc(p.dataNode),
		"namenode":  checks.ProbeFunc(p.nameNode),
		"ha":        checks.ProbeFunc(p.ha),
		"blocks":    checks.ProbeFunc(p.blocks),
		"datanodes": checks.ProbeFunc(p.dataNodes),
		"capacity":  checks.ProbeFunc(p.capacity),
		"files":     checks.ProbeFunc(p.files),
	})
	out.AppliesTo = func(ctx context.Context, probe string) (bool, error) {
		return p.applies(ctx, strings.TrimPrefix(probe, "hdfs."))
	}
	out.Judges = judge.All(judge.Options{Conf: o.Conf, JMX: p.jmx, WebHDFS: webhdfs.New(webhdfs.Options{}), Volumes: v})
	return out, err
}
