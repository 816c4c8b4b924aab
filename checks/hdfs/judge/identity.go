package judge

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"alps/checks/hdfs/jmx"
	"alps/checks/hdfs/site"
)

// dataNode is the DataNode of this node, as its configuration and itself say.
type dataNode struct {
	site.DataNode

	info *jmx.DataNodeInfo // nil when it does not answer.
	set  *jmx.Dataset
	err  error // why it does not.
}

// ask asks the DataNode of this node how it is.
func (j *judge) ask(ctx context.Context, conf site.DataNode) dataNode {
	d := dataNode{DataNode: conf}
	addr := site.Dial(conf.HTTP)
	if d.info, d.err = j.JMX.DataNodeInfo(ctx, addr); d.err != nil {
		return d
	}
	if d.set, d.err = j.JMX.Dataset(ctx, addr); d.err != nil {
		d.info = nil
	}
	return d
}

// down reports whether the process is not there, as opposed to one that hangs
// or talks nonsense.
func (d dataNode) down() bool { return jmx.KindOf(d.err) == jmx.NoAnswer }

// is reports whether what a NameNode calls key, at that address, is d. A
// NameNode knows a DataNode by the address that its connection came from.
func (d dataNode) is(ctx context.Context, key, xfer string) bool {
	host, port, err := net.SplitHostPort(xfer)
	ownHost, ownPort, err2 := net.SplitHostPort(d.Transfer)
	if err != nil || err2 != nil {
		return false
	}
	name := d.Hostname
	if d.info != nil {
		name, ownPort = d.info.Hostname, d.info.DataPort
	}
	if port != ownPort || name != "" && key != net.JoinHostPort(name, ownPort) {
		return false
	}
	// An address that only this DataNode listens on, or one of the machine.
	return host == ownHost || site.Local(ctx, host)
}

// known is what the active NameNode knows of the DataNode of this node.
type known struct {
	key, xfer, http string
	live            *jmx.LiveNode // nil when it is dead.
}

// identify finds the DataNode of this node among those that a NameNode knows.
// It is exactly one, or an error.
func (d dataNode) identify(ctx context.Context, i *jmx.NameNodeInfo) (known, error) {
	var found []known
	for key, n := range i.Live {
		if d.is(ctx, key, n.XferAddr) {
			found = append(found, known{key, n.XferAddr, n.InfoAddr, &n})
		}
	}
	for key, n := range i.Dead {
		if _, lives := i.Live[key]; !lives && d.is(ctx, key, n.XferAddr) {
			found = append(found, known{key, n.XferAddr, "", nil})
		}
	}
	if len(found) != 1 {
		return known{}, fmt.Errorf("the active NameNode knows %d DataNodes that may be the one of this node (%s), and it must be exactly one", len(found), d.Transfer)
	}
	return found[0], nil
}

// facts say who the DataNode is, for the steps that follow.
func (d dataNode) facts(k known, dirs []string) map[string]string {
	host, _, _ := net.SplitHostPort(k.xfer)
	at := func(address string) string {
		_, port, _ := net.SplitHostPort(address)
		return net.JoinHostPort(host, port)
	}
	f := map[string]string{
		"datanode": k.key, "datanode_addr": k.xfer,
		"datanode_http": at(d.HTTP), "datanode_ipc": at(d.IPC),
	}
	if k.http != "" {
		f["datanode_http"] = k.http
	}
	if d.set != nil {
		f["datanode_uuid"] = d.set.UUID
	} else if id := uuidIn(dirs); id != "" {
		f["datanode_uuid"] = id
	}
	return f
}

// uuidIn reads the id of a DataNode that does not run from directories that are
// known to work.
func uuidIn(dirs []string) string {
	for _, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, "current", "VERSION"))
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "datanodeUuid="); ok {
				return strings.TrimSpace(id)
			}
		}
	}
	return ""
}
