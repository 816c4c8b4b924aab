package cluster

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What this HDFS does otherwise than a production one.
//
// Quick: heartbeats every second, and a NameNode that looks every two for those
// that died; decommissioning, replication and the disk checks are looked at
// every second or so, and move many blocks at a time; no waiting in safe mode.
//
// Small: few handlers, blocks of 1 MiB.
//
// Quiet: calls to a daemon that is away are given up within seconds; a DataNode
// may be chosen whatever its load. Nobody is denied anything.

// writeConfig makes the directories of all nodes and what lies in them.
func (c *Cluster) writeConfig() error {
	if err := os.WriteFile(c.hostsFile(), []byte(c.hosts()), 0o644); err != nil {
		return fmt.Errorf("write the names of the nodes: %w", err)
	}
	if err := os.WriteFile(c.path("racks"), []byte(c.racks()), 0o644); err != nil {
		return fmt.Errorf("write the racks: %w", err)
	}
	for _, n := range c.Nodes() {
		if err := c.writeNode(n); err != nil {
			return fmt.Errorf("configure %s: %w", n.Name, err)
		}
	}
	return nil
}

func (c *Cluster) writeNode(n *Node) error {
	dirs := append([]string{n.BinDir}, n.DataDirs...)
	// The jar lacks the pages that its daemons refuse to start without.
	for _, app := range []string{"hdfs", "datanode", "journal", "secondary"} {
		dirs = append(dirs, filepath.Join(n.ConfDir, "webapps", app))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	files := map[string]string{
		"core-site.xml":    siteXML(c.core(n)),
		"hdfs-site.xml":    siteXML(c.hdfs(n)),
		"log4j.properties": log4j,
	}
	if n.Kind == NameNode {
		text := ""
		if c.o.JSONHosts {
			text = "[]\n"
		}
		files[filepath.Base(n.HostFile())] = text
	}
	var errs []error
	for name, text := range files {
		errs = append(errs, os.WriteFile(filepath.Join(n.ConfDir, name), []byte(text), 0o644))
	}
	errs = append(errs, os.WriteFile(filepath.Join(n.BinDir, "hdfs"), []byte(c.wrapper(n)), 0o755))
	return errors.Join(errs...)
}

// core is core-site.xml.
func (c *Cluster) core(n *Node) map[string]string {
	fs := "hdfs://" + c.names[0].IPC
	if c.o.HA {
		fs = "hdfs://" + nameservice
	}
	p := map[string]string{
		"fs.defaultFS":                               fs,
		"hadoop.tmp.dir":                             filepath.Join(n.Dir(), "tmp"),
		"ipc.client.connect.max.retries":             "3",
		"ipc.client.connect.retry.interval":          "500",
		"ipc.client.connect.timeout":                 "3000",
		"ipc.client.connect.max.retries.on.timeouts": "3",
	}
	if len(c.o.Racks) > 0 {
		p["net.topology.node.switch.mapping.impl"] = "org.apache.hadoop.net.TableMapping"
		p["net.topology.table.file.name"] = c.path("racks")
	}
	return p
}

// hdfs is hdfs-site.xml: what all must agree on, and what the node itself needs.
func (c *Cluster) hdfs(n *Node) map[string]string {
	p := map[string]string{
		"dfs.replication":                       strconv.Itoa(c.o.Replication),
		"dfs.blocksize":                         strconv.FormatInt(c.o.BlockSize, 10),
		"dfs.namenode.fs-limits.min-block-size": "1024",
		"dfs.permissions.enabled":               "false",
		"dfs.heartbeat.interval":                "1",
		// Every machine has it in its configuration, and only a NameNode makes it.
		"dfs.namenode.name.dir": "file://" + filepath.Join(n.Dir(), "name"),
	}
	c.where(p)
	switch n.Kind {
	case NameNode:
		maps.Copy(p, c.nameNode(n))
		maps.Copy(p, c.o.NameNodeConf)
	case DataNode:
		maps.Copy(p, c.dataNode(n))
		maps.Copy(p, c.o.DataNodeConf)
	case JournalNode:
		maps.Copy(p, map[string]string{
			"dfs.journalnode.edits.dir": filepath.Join(n.Dir(), "edits"), "dfs.journalnode.rpc-address": n.IPC, "dfs.journalnode.http-address": n.HTTP,
		})
	}
	return p
}

// where says where the NameNodes are, which clients need as well.
func (c *Cluster) where(p map[string]string) {
	if !c.o.HA {
		p["dfs.namenode.rpc-address"], p["dfs.namenode.http-address"] = c.names[0].IPC, c.names[0].HTTP
		return
	}
	var ids, journals []string
	for _, n := range c.names {
		ids = append(ids, n.ID)
		p["dfs.namenode.rpc-address."+nameservice+"."+n.ID] = n.IPC
		p["dfs.namenode.http-address."+nameservice+"."+n.ID] = n.HTTP
	}
	for _, n := range c.journals {
		journals = append(journals, n.IPC)
	}
	maps.Copy(p, map[string]string{
		"dfs.nameservices":                                  nameservice,
		"dfs.ha.namenodes." + nameservice:                   strings.Join(ids, ","),
		"dfs.namenode.shared.edits.dir":                     "qjournal://" + strings.Join(journals, ";") + "/" + nameservice,
		"dfs.client.failover.proxy.provider." + nameservice: "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
		"dfs.client.failover.max.attempts":                  "4",
		"dfs.client.failover.sleep.base.millis":             "100",
		"dfs.client.failover.sleep.max.millis":              "500",
		"dfs.ha.fencing.methods":                            "shell(/bin/true)",
		"dfs.ha.automatic-failover.enabled":                 "false",
		"dfs.ha.tail-edits.in-progress":                     "true",
		"dfs.ha.tail-edits.period":                          "1s",
	})
}

func (c *Cluster) nameNode(n *Node) map[string]string {
	p := map[string]string{
		"dfs.namenode.heartbeat.recheck-interval":                strconv.FormatInt(c.o.HeartbeatRecheck.Milliseconds(), 10),
		"dfs.namenode.stale.datanode.interval":                   "5000",
		"dfs.namenode.decommission.interval":                     "1",
		"dfs.namenode.redundancy.interval.seconds":               "1",
		"dfs.namenode.reconstruction.pending.timeout-sec":        "10",
		"dfs.namenode.replication.work.multiplier.per.iteration": "10",
		"dfs.namenode.replication.max-streams":                   "20",
		"dfs.namenode.replication.max-streams-hard-limit":        "40",
		"dfs.namenode.redundancy.considerLoad":                   "false",
		"dfs.namenode.safemode.extension":                        "0",
		"dfs.namenode.handler.count":                             "5",
	}
	if c.o.HA {
		p["dfs.ha.namenode.id"] = n.ID
	}
	if c.o.JSONHosts {
		p["dfs.namenode.hosts.provider.classname"] = "org.apache.hadoop.hdfs.server.blockmanagement.CombinedHostFileManager"
		p["dfs.hosts"] = n.HostFile()
	} else {
		p["dfs.hosts.exclude"] = n.HostFile()
	}
	return p
}

func (c *Cluster) dataNode(n *Node) map[string]string {
	var dirs []string
	for _, dir := range n.DataDirs {
		dirs = append(dirs, "[DISK]file://"+dir)
	}
	return map[string]string{
		"dfs.datanode.data.dir":                                strings.Join(dirs, ","),
		"dfs.datanode.hostname":                                n.Name,
		"dfs.datanode.address":                                 n.Transfer,
		"dfs.datanode.http.address":                            n.HTTP,
		"dfs.datanode.ipc.address":                             n.IPC,
		"dfs.datanode.failed.volumes.tolerated":                strconv.Itoa(*c.o.FailedVolumesTolerated),
		"dfs.datanode.disk.check.min.gap":                      "1s",
		"dfs.datanode.disk.check.timeout":                      "5s",
		"dfs.datanode.directoryscan.interval":                  "5",
		"dfs.datanode.directoryscan.throttle.limit.ms.per.sec": "-1",
		"dfs.blockreport.initialDelay":                         "0",
		"dfs.datanode.handler.count":                           "3",
	}
}

// siteXML writes properties as Hadoop reads them, sorted.
func siteXML(p map[string]string) string {
	var b bytes.Buffer
	b.WriteString("<?xml version=\"1.0\"?>\n<configuration>\n")
	for _, name := range slices.Sorted(maps.Keys(p)) {
		b.WriteString("  <property><name>")
		_ = xml.EscapeText(&b, []byte(name)) // a buffer does not fail.
		b.WriteString("</name><value>")
		_ = xml.EscapeText(&b, []byte(p[name]))
		b.WriteString("</value></property>\n")
	}
	b.WriteString("</configuration>\n")
	return b.String()
}

// log4j has daemons say what they do, and commands only what is wrong, both on
// their standard error. The logger of requests has no place to write to, and
// nobody expects the native library in a jar.
const log4j = `hadoop.root.logger=WARN,console
log4j.rootLogger=${hadoop.root.logger}
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
log4j.logger.http.requests=ERROR
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
`

// hosts names every node, and the machine itself: a JVM with a file of names
// asks nobody else.
func (c *Cluster) hosts() string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	if own, err := os.Hostname(); err == nil {
		fmt.Fprintf(&b, "127.0.0.1 %s\n", own)
	}
	for _, n := range slices.Concat(c.names, c.datas, c.journals) {
		fmt.Fprintf(&b, "%s %s\n", n.Addr, n.Name)
	}
	return b.String()
}

// racks is the table of the DataNodes' racks, by address.
func (c *Cluster) racks() string {
	var b strings.Builder
	for i, rack := range c.o.Racks {
		host, _, _ := net.SplitHostPort(c.datas[i].Transfer) // we made it.
		fmt.Fprintf(&b, "%s %s\n", host, rack)
	}
	return b.String()
}
