// Package all lists the packs that come with ALPS. A new pack is a line here.
//
//	packs, err := all.Packs(all.Env{Skew: link.Skew, Consul: asker, Node: name})
//	set, err := checks.NewSet(packs)
//
// It imports the packs, and nobody but the agent's wiring imports it.
package all

import (
	"time"

	"alps/checks"
	"alps/checks/consul"
	"alps/checks/hdfs"
	"alps/checks/host"
	"alps/mesh"
)

// Env is what packs need of their node. The zero Env gives those that need
// nothing.
type Env struct {
	// Root is the directory that holds proc; empty means "/".
	Root string
	// Skew returns how far the node's clock is ahead of the server's, and
	// whether that is known. It may be called from any goroutine.
	Skew func() (time.Duration, bool)
	// Consul asks the local Consul agent, in which the node is called Node.
	// Without it there is no pack consul.
	Consul consul.Asker
	Node   mesh.NodeName
	// HadoopConf is the directory of Hadoop's configuration; empty means where
	// Hadoop's own tools look. TryVolume is the command that calls volume.Child;
	// without it there is no pack hdfs.
	HadoopConf string
	TryVolume  []string
}

// Packs makes all packs, in the order of their names in the documentation. An
// error is a fault of a pack, not of the node.
func Packs(env Env) ([]checks.Pack, error) {
	h, err := host.New(host.Options{Root: env.Root, Skew: env.Skew})
	if err != nil {
		return nil, err
	}
	packs := []checks.Pack{h}
	if env.Consul != nil {
		c, err := consul.New(consul.Options{Consul: env.Consul, Node: env.Node})
		if err != nil {
			return nil, err
		}
		packs = append(packs, c)
	}
	if len(env.TryVolume) > 0 {
		d, err := hdfs.New(hdfs.Options{Conf: env.HadoopConf, Child: env.TryVolume, Root: env.Root})
		if err != nil {
			return nil, err
		}
		packs = append(packs, d)
	}
	return packs, nil
}
