package main

import (
	"context"
	"fmt"

	"alps/cmd/alps/internal/dev"
)

// hdfsRules is what the server of alps dev --hdfs has beside demoRules: the
// policy hdfs-disk-decommission of deploy/policies, which acts by itself and may
// act again soon, so that one can watch it twice.
const hdfsRules = `
rule "hdfs-disk" {
  check    = "hdfs-volumes"
  severity = "critical"
  summary  = "a disk of an HDFS DataNode has failed"
  notify   = ["story"]
}

policy "hdfs-disk-decommission" {
  rule     = "hdfs-disk"
  mode     = "auto"
  cooldown = "10s"
  retry    = "20s"
  group    = "hdfs"

  confirm "two-sources" { script = "hdfs-confirm" }
  guard "may-leave" {
    script = "hdfs-may-leave"
    on     = "service=namenode"
  }
  step "exclude" {
    script = "hdfs-decommission"
    on     = "service=namenode"
    undo   = "hdfs-recommission"
    within = "3m"
  }
  prove "blocks" {
    script = "hdfs-proven"
    on     = "service=namenode"
    within = "24h"
  }
}
`

// demoBlocks is how many blocks the HDFS of alps dev holds: enough that one sees
// it drain.
const demoBlocks = 320

// fillHDFS writes what can be lost.
func (a *app) fillHDFS(ctx context.Context, c *dev.Cluster) error {
	h := c.HDFS()
	if h == nil {
		return nil
	}
	fmt.Fprintf(a.err, "  writing %d blocks\n", demoBlocks)
	_, err := h.Put(ctx, "/demo/", demoBlocks, min(3, len(h.DataNodes())))
	return err
}
