package jmx

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

const dataPrefix = "Hadoop:service=DataNode,name="

// DataNodeInfo is the bean of that name.
type DataNodeInfo struct {
	Hostname  string // as it calls itself.
	DataPort  string
	HTTPPort  string
	IPCPort   string
	Version   string
	ClusterID string
	Volumes   map[string]Volume // by clean path; one that has failed is not there.
	Actors    []Actor
	Xceivers  int64
}

// Volume is a directory in service.
type Volume struct {
	UsedSpace     int64  `json:"usedSpace"`
	FreeSpace     int64  `json:"freeSpace"`
	ReservedSpace int64  `json:"reservedSpace"`
	NumBlocks     int64  `json:"numBlocks"`
	StorageType   string `json:"storageType"`
}

// Actor is the part of a DataNode that serves one NameNode.
type Actor struct {
	NameNode       string // host:port of its RPC.
	State          string // "RUNNING" when all is well.
	HAState        string
	HeartbeatAge   int64 // seconds.
	BlockReportAge int64
	BlockPool      string
}

// Running reports whether the actor is connected and at work.
func (a Actor) Running() bool { return a.State == "RUNNING" }

type rawData struct {
	VolumeInfo, BPServiceActorInfo, NamenodeAddresses string

	DatanodeHostname                     string
	DataPort, HTTPPort, RPCPort, Version string
	ClusterID                            string `json:"ClusterId"`
	XceiverCount                         int64
}

// rawActor has its numbers in strings.
type rawActor struct {
	NamenodeAddress, NamenodeHaState, BlockPoolID, ActorState, LastHeartbeat, LastBlockReport string
}

// DataNodeInfo says what a DataNode has in service.
func (c *Client) DataNodeInfo(ctx context.Context, addr string) (*DataNodeInfo, error) {
	var raw rawData
	if err := c.Bean(ctx, addr, dataPrefix+"DataNodeInfo", &raw); err != nil {
		return nil, err
	}
	info, err := raw.info()
	if err != nil {
		return nil, &Error{Garbled, addr, "its DataNodeInfo makes no sense: " + err.Error()}
	}
	return info, nil
}

func (r *rawData) info() (*DataNodeInfo, error) {
	i := &DataNodeInfo{
		Hostname: r.DatanodeHostname, DataPort: r.DataPort, HTTPPort: r.HTTPPort, IPCPort: r.RPCPort,
		Version: r.Version, ClusterID: r.ClusterID, Xceivers: r.XceiverCount, Volumes: make(map[string]Volume),
	}
	var volumes map[string]Volume
	if err := json.Unmarshal([]byte(r.VolumeInfo), &volumes); err != nil {
		return nil, fmt.Errorf("VolumeInfo: %w", err)
	}
	for p, v := range volumes {
		i.Volumes[volumePath(p)] = v
	}
	var actors []rawActor
	if err := json.Unmarshal([]byte(r.BPServiceActorInfo), &actors); err != nil {
		return nil, fmt.Errorf("BPServiceActorInfo: %w", err)
	}
	for _, a := range actors {
		heartbeat, err := seconds(a.LastHeartbeat)
		if err != nil {
			return nil, fmt.Errorf("LastHeartbeat: %w", err)
		}
		report, err := seconds(a.LastBlockReport)
		if err != nil {
			return nil, fmt.Errorf("LastBlockReport: %w", err)
		}
		i.Actors = append(i.Actors, Actor{
			NameNode: a.NamenodeAddress, State: a.ActorState, HAState: a.NamenodeHaState, BlockPool: a.BlockPoolID,
			HeartbeatAge: heartbeat, BlockReportAge: report,
		})
	}
	slices.SortFunc(i.Actors, func(a, b Actor) int {
		return strings.Compare(a.NameNode+" "+a.BlockPool, b.NameNode+" "+b.BlockPool)
	})
	return i, nil
}

// seconds reads an age that a version may leave out.
func seconds(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	return strconv.ParseInt(s, 10, 64)
}

// volumePath is the configured directory that a volume is in: versions differ in
// whether they name its part "current".
func volumePath(p string) string {
	p = path.Clean(strings.TrimPrefix(p, "file:"))
	return strings.TrimSuffix(p, "/current")
}

// Dataset is the bean FSDatasetState-<uuid> of a DataNode.
type Dataset struct {
	UUID                       string // of the DataNode.
	NumFailedVolumes           int64
	FailedVolumes              []string // clean paths, sorted.
	LastVolumeFailureDate      int64    // milliseconds since 1970.
	EstimatedCapacityLostTotal int64
	Capacity                   int64
	DfsUsed                    int64
	Remaining                  int64
}

// Dataset says which directories a DataNode has given up. The DataNode keeps a
// second bean of almost the same name, whose numbers are old.
func (c *Client) Dataset(ctx context.Context, addr string) (*Dataset, error) {
	const query = dataPrefix + "FSDatasetState*"
	beans, err := c.Beans(ctx, addr, query)
	if err != nil {
		return nil, err
	}
	const lead = dataPrefix + "FSDatasetState-"
	var found *Dataset
	for _, b := range beans {
		var raw struct {
			Dataset

			Name                   string   `json:"name"`
			FailedStorageLocations []string `json:"FailedStorageLocations"`
		}
		raw.NumFailedVolumes = -1
		if err := into(addr, query, b, &raw); err != nil {
			return nil, err
		}
		uuid, ok := strings.CutPrefix(raw.Name, lead)
		switch {
		case !ok:
			continue
		case found != nil:
			return nil, &Error{Garbled, addr, "it has more than one FSDatasetState of its own"}
		case raw.NumFailedVolumes < 0:
			return nil, &Error{Garbled, addr, "its FSDatasetState does not say how many volumes have failed"}
		}
		found = &raw.Dataset
		found.UUID = uuid
		for _, p := range raw.FailedStorageLocations {
			found.FailedVolumes = append(found.FailedVolumes, locationPath(p))
		}
		slices.Sort(found.FailedVolumes)
	}
	if found == nil {
		return nil, &Error{NoBean, addr, "it has no FSDatasetState of its own: it has not started yet"}
	}
	return found, nil
}

// locationPath is the directory of a storage location, "[DISK]file:/data/1".
func locationPath(p string) string {
	if strings.HasPrefix(p, "[") {
		_, after, _ := strings.Cut(p, "]")
		p = after
	}
	return volumePath(p)
}
