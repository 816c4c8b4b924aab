package judge

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"alps/checks/hdfs/site"
	"alps/checks/hdfs/webhdfs"
)

// Limits of a canary.
const (
	maxFiles  = 64
	writeTime = 15 * time.Second // a call that hangs may take as long again as its own limit.
)

// canary is small files in HDFS that the DataNode of this node is made to
// write: it takes its directories in turn, so that each gets one. They are
// written one by one, and no more of them than it takes.
type canary struct {
	client   *webhdfs.Client
	dataNode string // who is made to write, by its HTTP address.
	nameNode string // who removes the files.
	file     webhdfs.File
	dir      string // in HDFS.
	files    int    // how many there are to be at most.
	begun    int    // how many there may be.
	written  int
	until    time.Time
	tried    bool  // one that was not written may have come as far as a disk.
	failed   error // the last that was not written.
	stays    error // why the files are not removed.
}

// newCanary says what is to be written. The DataNode's own process is the client
// of HDFS, and a NameNode gives a client that is a DataNode the first copy of
// what it writes. It tells them by their address: where several DataNodes have
// one, it takes any of them, so a file gets as many copies as there are, and
// each gets one.
func (j *judge) newCanary(m *matter, s subject) (*canary, error) {
	copies, err := m.site.Int("dfs.namenode.replication.min", 1)
	if err != nil {
		return nil, err
	}
	own, _, _ := net.SplitHostPort(s.known.xfer)
	same := 0
	for _, n := range s.active.Info.Live {
		if host, _, _ := net.SplitHostPort(n.XferAddr); host == own {
			same++
		}
	}
	return &canary{
		client: j.WebHDFS, dataNode: site.Dial(s.HTTP), nameNode: s.active.NameNode.HTTP,
		dir: "/tmp/alps-canary-" + strings.ToLower(rand.Text()), files: min(maxFiles, 4*m.dirs),
		file:  webhdfs.File{NameNode: s.active.NameNode.RPC, Copies: max(copies, same), Content: []byte("canary\n")},
		until: time.Now().Add(writeTime),
	}, nil
}

// next writes one more file, and reports whether that was worth a look. A write
// that fails is: the disk that is meant fails it. One that does not come as far
// as a disk is the last one.
func (c *canary) next(ctx context.Context) bool {
	if c.begun == c.files || ctx.Err() != nil || time.Now().After(c.until) {
		return false
	}
	c.file.Path = c.dir + "/" + strconv.Itoa(c.begun)
	err := c.client.Create(ctx, c.dataNode, c.file)
	if err == nil {
		c.begun++
		c.written++
		return true
	}
	c.failed = err
	if !webhdfs.Tried(err) {
		c.files = c.begun
		return false
	}
	c.begun++
	c.tried = true
	return true
}

// told is what an answer says of the canary.
func (c *canary) told() string {
	text := fmt.Sprintf("%d files in %s", c.begun, c.dir)
	if c.failed != nil {
		text += "; " + c.failed.Error()
	}
	if c.stays != nil {
		text += "; they are not removed: " + c.stays.Error()
	}
	return text
}

// remove takes the files away, also when ctx has ended.
func (c *canary) remove(ctx context.Context) {
	if c.begun > 0 {
		// Files of a few bytes that stay are told in the evidence, by their name.
		c.stays = c.client.Remove(context.WithoutCancel(ctx), c.nameNode, c.dir)
	}
}
