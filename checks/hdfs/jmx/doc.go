// Package jmx asks NameNodes and DataNodes what they say of themselves, by the
// page /jmx of their HTTP ports.
//
//	c := jmx.New(jmx.Options{})
//	info, err := c.NameNodeInfo(ctx, "nn1:9870")     // live, dead, leaving nodes
//	survey := c.Survey(ctx, namenodes)               // all of them, at once
//	active, err := survey.Active()                   // exactly one, or an error
//
// Which numbers may be relied upon: NameNodeInfo, FSNamesystemState, DataNodeInfo
// and Dataset are made when they are asked for. Metrics (FSNamesystem, RPC, JVM)
// are those of up to ten seconds ago, so nothing is decided by them; they are
// for looking at.
//
// Every call has its own deadline, because a NameNode that hangs takes
// connections and says nothing. What a standby counts is an echo: Survey.Active
// is the only way to numbers of a whole cluster, and a router, which counts -1,
// is no NameNode.
//
// The package only reads. It must not import anything of ALPS but mesh and
// checks/hdfs/site.
package jmx
