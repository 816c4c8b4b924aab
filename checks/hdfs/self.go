package hdfs

import (
	"cmp"
	"context"
	"os"
	"time"

	"alps/checks"
	"alps/checks/hdfs/site"
	"alps/mesh"
)

// site reads the configuration that a check means.
func (p *pack) site(s *checks.Settings) (*site.Site, error) {
	return site.Load(cmp.Or(s.Text("conf"), p.conf))
}

// applies reports whether a probe has something to look at on this node.
func (p *pack) applies(ctx context.Context, probe string) (bool, error) {
	st, err := site.Load(p.conf)
	switch {
	case mesh.CodeOf(err) == mesh.NotFound:
		return false, nil // no Hadoop.
	case err != nil:
		return false, err
	}
	if probe == "volumes" || probe == "datanode" {
		return p.hasData(ctx, st)
	}
	own, err := st.Own(ctx)
	if err != nil || own == nil {
		return false, err
	}
	// Where all nodes have one configuration, or all daemons one address, the
	// directory of the names tells who has a NameNode.
	dirs, err := st.NameDirs()
	return len(dirs) == 0 || present(ctx, dirs), err
}

// hasData reports whether blocks are kept here: a directory for them exists, or
// a DataNode answers.
func (p *pack) hasData(ctx context.Context, st *site.Site) (bool, error) {
	dirs, err := st.DataDirs()
	if err != nil || len(dirs) == 0 {
		return false, err
	}
	var paths []string
	for _, d := range dirs {
		paths = append(paths, d.Path)
	}
	if present(ctx, paths) {
		return true, nil
	}
	dn, err := st.DataNode()
	if err != nil {
		return false, err
	}
	_, err = p.jmx.DataNodeInfo(ctx, site.Dial(dn.HTTP))
	return err == nil, nil
}

// statTime is how long a directory may take to say that it exists.
const statTime = time.Second

// present reports whether one of the paths exists. A disk that does not answer
// is there.
func present(ctx context.Context, paths []string) bool {
	ctx, cancel := context.WithTimeout(ctx, statTime)
	defer cancel()
	answer := make(chan bool, 1)
	go func() { // it is left behind when a disk hangs, and ends when that does.
		for _, p := range paths {
			if _, err := os.Stat(p); err == nil {
				answer <- true
				return
			}
		}
		answer <- false
	}()
	select {
	case yes := <-answer:
		return yes
	case <-ctx.Done():
		return true
	}
}
