// Package dev brings up a whole ALPS cluster on this machine: real Consul
// processes on loopback addresses, a real `alps agent` beside each of them,
// and a real `alps server`, or several of which one leads. `alps dev` shows it
// to a newcomer, the end-to-end tests break it on purpose, the benchmarks
// measure it: all of them run what ships, over the same TLS, with a throw-away
// CA and root key.
//
//	c, err := dev.Start(ctx, dev.Options{Alps: dev.Program{Path: "bin/alps"}})
//	defer c.Close()
//	c.Client()                          // the API, as an admin
//	c.Agent("bj-e-hadoop01-11-203").Kill()
//
// Everything lies under one directory, which is emptied by the next start:
//
//	consul/<node>/   data, configuration and log of Consul
//	server/          data, configuration and log of the first ALPS server
//	server2/ …       the same of those that share its store, CA, keys and rules
//	agent/<node>/    the same of each agent
//	hdfs/            a real HDFS, when there is one: alps/checks/hdfs/cluster
//	disks.json       the disks of its DataNodes, for who breaks one
//	root/            the root key, the server's key and its grant
//	env              what a shell needs to speak to it: `. DIR/env`
//	pids.json        who was started, so that a later run can clean up
//
// It must not be imported by what it starts.
package dev
