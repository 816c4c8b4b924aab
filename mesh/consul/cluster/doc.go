// Package cluster starts real Consul processes on loopback addresses: the
// estate of "alps dev", and of every test whose point is what Consul does.
//
//	c, err := cluster.Start(ctx, cluster.Options{
//		Datacenters: []cluster.Datacenter{{Name: "bj-e-01", Nodes: []cluster.NodeSpec{
//			{Name: "bj-e-admin03", Server: true},
//			{Name: "bj-e-hadoop01-11-203"},
//		}}},
//	})
//	defer c.Close()
//	c.Node("bj-e-admin03").HTTPAddr()  // "127.101.7.1:8500"
//
// A test says cluster.ForTest(t, opts) and needs no Close.
//
// Each node has a loopback address of its own and Consul's usual ports on it,
// so that any number of clusters stand side by side and everything that knows
// Consul's ports works as on a real machine:
//
//	127.x.y.1  server  8300 8301 8302 8500 8600
//	127.x.y.2  client       8301      8500 8600
//	127.x.y.3  client       …
//
// x.y is picked at random and reserved while the cluster stands, unless
// Options.Subnet names it. Where it differs from a production Consul is
// written down in config.go: only what makes it quick, small and quiet.
//
// A starter that was killed leaves its processes behind. Start and Sweep find
// them by the record in the directory, see alps/mesh/proc; directories that
// Start made itself are tidied by the next Start of anybody.
//
// The package must not import anything of ALPS but mesh and mesh/proc.
package cluster
