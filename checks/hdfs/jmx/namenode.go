package jmx

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// prefix begins the names of a NameNode's beans.
const prefix = "Hadoop:service=NameNode,name="

// States in which a NameNode may be.
const (
	StateActive  = "active"
	StateStandby = "standby"
)

// AdminState is what people want of a DataNode, in the words of HDFS.
type AdminState string

// The states. Whether the DataNode lives is another question.
const (
	InService       AdminState = "In Service"
	Decommissioning AdminState = "Decommission In Progress"
	Decommissioned  AdminState = "Decommissioned"
	EnteringMaint   AdminState = "Entering Maintenance"
	InMaintenance   AdminState = "In Maintenance"
)

// NameNodeStatus is the bean of that name.
type NameNodeStatus struct {
	State                string // "active", "standby", "observer" or "initializing".
	HostAndPort          string
	LastHATransitionTime int64 // milliseconds since 1970.
	SecurityEnabled      bool
}

// LiveNode is a DataNode from which the NameNode hears.
type LiveNode struct {
	Key         string `json:"-"` // host:port as the DataNode calls itself.
	XferAddr    string `json:"xferaddr"`
	InfoAddr    string `json:"infoAddr"`
	Location    string `json:"location"` // rack.
	UUID        string `json:"uuid"`     // older versions do not say it.
	LastContact int64  `json:"lastContact"`
	AdminState  AdminState
	Capacity    int64 `json:"capacity"`
	Used        int64 `json:"used"`
	Remaining   int64 `json:"remaining"`
	NumBlocks   int64 `json:"numBlocks"`
	VolFails    int64 `json:"volfails"`
	// FailedStorageIDs are the failed directories; nothing when none has failed.
	FailedStorageIDs           []string `json:"failedStorageIDs"`
	LastVolumeFailureDate      int64    `json:"lastVolumeFailureDate"` // milliseconds since 1970.
	EstimatedCapacityLostTotal int64    `json:"estimatedCapacityLostTotal"`
}

// DeadNode is a DataNode that the NameNode misses.
type DeadNode struct {
	Key         string `json:"-"`
	XferAddr    string `json:"xferaddr"`
	Location    string `json:"location"`    // older versions do not say it.
	LastContact int64  `json:"lastContact"` // seconds ago.
	AdminState  AdminState
}

// LeavingNode is a DataNode that is being decommissioned or enters maintenance.
type LeavingNode struct {
	Key                        string `json:"-"`
	XferAddr                   string `json:"xferaddr"`
	Location                   string `json:"location"`
	UnderReplicatedBlocks      int64  `json:"underReplicatedBlocks"` // 0 until the first scan, too.
	DecommissionOnlyReplicas   int64  `json:"decommissionOnlyReplicas"`
	MaintenanceOnlyReplicas    int64  `json:"maintenanceOnlyReplicas"`
	UnderReplicateInOpenFiles  int64  `json:"underReplicateInOpenFiles"`
	DecommissionDurationMillis int64  `json:"decommissionDuration"`
}

// NameNodeInfo is the bean of that name.
type NameNodeInfo struct {
	Live     map[string]LiveNode
	Dead     map[string]DeadNode
	Leaving  map[string]LeavingNode
	Entering map[string]LeavingNode
	// Safemode says why the NameNode is in safe mode; "" when it is not.
	Safemode         string
	Missing          int64 // blocks without any good copy.
	MissingReplOne   int64 // of those that should have one copy only.
	CorruptFiles     int   // in the list, which ends at some hundred.
	Threads          int64
	TotalBlocks      int64
	TotalFiles       int64
	UpgradeFinalized bool
	// HighestPriority counts blocks of which one good copy is left.
	HighestPriority int64
	// RollingUpgrade is set while an upgrade is under way.
	RollingUpgrade  bool
	FailedNameDirs  []string
	Version         string
	BlockPoolID     string
	ClusterID       string
	NumberOfVersion int // of DataNodes.
}

// rawInfo is the bean as it comes, with JSON inside of strings.
type rawInfo struct {
	LiveNodes, DeadNodes, DecomNodes, EnteringMaintenanceNodes string

	Safemode                                      *string
	NumberOfMissingBlocks                         *int64
	NumberOfMissingBlocksWithReplicationFactorOne int64
	HighestPriorityLowRedundancyReplicatedBlocks  int64
	CorruptFiles, NameDirStatuses                 string
	Threads, TotalBlocks, TotalFiles              int64
	UpgradeFinalized                              *bool
	RollingUpgradeStatus                          json.RawMessage
	Version, BlockPoolID                          string
	ClusterID                                     string `json:"ClusterId"`
	DistinctVersionCount                          int
}

// NameNodeStatus says in which state a NameNode is.
func (c *Client) NameNodeStatus(ctx context.Context, addr string) (NameNodeStatus, error) {
	var s NameNodeStatus
	err := c.Bean(ctx, addr, prefix+"NameNodeStatus", &s)
	if err == nil && s.State == "" {
		err = &Error{Garbled, addr, "it does not say in which state it is"}
	}
	return s, err
}

// NameNodeInfo says what a NameNode knows of its DataNodes.
func (c *Client) NameNodeInfo(ctx context.Context, addr string) (*NameNodeInfo, error) {
	const query = prefix + "NameNodeInfo"
	var raw rawInfo
	if err := c.Bean(ctx, addr, query, &raw); err != nil {
		return nil, err
	}
	info, err := raw.info()
	if err != nil {
		return nil, &Error{Garbled, addr, "its NameNodeInfo makes no sense: " + err.Error()}
	}
	for _, n := range info.Live {
		if n.VolFails < 0 || n.NumBlocks < 0 {
			return nil, &Error{Router, addr, "it counts -1 of a DataNode: it is a router, ask the NameNodes"}
		}
	}
	return info, nil
}

func (r *rawInfo) info() (*NameNodeInfo, error) {
	i := &NameNodeInfo{
		MissingReplOne:  r.NumberOfMissingBlocksWithReplicationFactorOne,
		HighestPriority: r.HighestPriorityLowRedundancyReplicatedBlocks,
		Threads:         r.Threads, TotalBlocks: r.TotalBlocks, TotalFiles: r.TotalFiles,
		Version: r.Version, BlockPoolID: r.BlockPoolID, ClusterID: r.ClusterID, NumberOfVersion: r.DistinctVersionCount,
	}
	// What is left out is not zero.
	if r.Safemode == nil || r.NumberOfMissingBlocks == nil || r.UpgradeFinalized == nil {
		return nil, fmt.Errorf("it lacks Safemode, NumberOfMissingBlocks or UpgradeFinalized")
	}
	i.Safemode, i.Missing, i.UpgradeFinalized = strings.TrimSpace(*r.Safemode), *r.NumberOfMissingBlocks, *r.UpgradeFinalized
	status := strings.TrimSpace(string(r.RollingUpgradeStatus))
	i.RollingUpgrade = status != "" && status != "null"
	if i.Missing < 0 || i.MissingReplOne < 0 {
		return nil, fmt.Errorf("it counts less than no missing blocks")
	}
	for _, part := range []struct {
		name, text string
		to         any
	}{
		{"LiveNodes", r.LiveNodes, &i.Live},
		{"DeadNodes", r.DeadNodes, &i.Dead},
		{"DecomNodes", r.DecomNodes, &i.Leaving},
	} {
		if err := json.Unmarshal([]byte(part.text), part.to); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if r.EnteringMaintenanceNodes != "" { // versions before 3.0 have none.
		if err := json.Unmarshal([]byte(r.EnteringMaintenanceNodes), &i.Entering); err != nil {
			return nil, fmt.Errorf("EnteringMaintenanceNodes: %w", err)
		}
	}
	var corrupt []string
	if json.Unmarshal([]byte(r.CorruptFiles), &corrupt) == nil {
		i.CorruptFiles = len(corrupt)
	}
	var dirs struct {
		Failed map[string]string `json:"failed"`
	}
	if json.Unmarshal([]byte(r.NameDirStatuses), &dirs) == nil {
		for d := range dirs.Failed {
			i.FailedNameDirs = append(i.FailedNameDirs, d)
		}
	}
	i.key()
	return i, nil
}

// key tells each node how it is called.
func (i *NameNodeInfo) key() {
	for k, n := range i.Live {
		n.Key = k
		i.Live[k] = n
	}
	for k, n := range i.Dead {
		n.Key = k
		i.Dead[k] = n
	}
	for k, n := range i.Leaving {
		n.Key = k
		i.Leaving[k] = n
	}
	for k, n := range i.Entering {
		n.Key = k
		i.Entering[k] = n
	}
}

// AdminState returns what a NameNode wants of a DataNode, by its key, and
// whether it lives; "" when it knows no such node.
func (i *NameNodeInfo) AdminState(key string) (state AdminState, lives bool) {
	if n, ok := i.Live[key]; ok {
		return n.AdminState, true
	}
	return i.Dead[key].AdminState, false
}

// SystemState is the bean FSNamesystemState.
type SystemState struct {
	NumLiveDataNodes, NumDeadDataNodes, NumStaleDataNodes                       int64
	NumDecomLiveDataNodes, NumDecomDeadDataNodes, NumDecommissioningDataNodes   int64
	NumInMaintenanceLiveDataNodes, NumInMaintenanceDeadDataNodes                int64
	NumInServiceLiveDataNodes, NumEnteringMaintenanceDataNodes                  int64
	VolumeFailuresTotal, EstimatedCapacityLostTotal                             int64
	UnderReplicatedBlocks, PendingReplicationBlocks, ScheduledReplicationBlocks int64
	NumStaleStorages, PendingDeletionBlocks, BlocksTotal, FilesTotal            int64
	CapacityTotal, CapacityUsed, CapacityRemaining                              int64
	FSState                                                                     string
}

// SystemState counts the blocks and nodes of the file system.
func (c *Client) SystemState(ctx context.Context, addr string) (SystemState, error) {
	// -1 tells what was left out from what is zero.
	s := SystemState{NumLiveDataNodes: -1, NumStaleDataNodes: -1, UnderReplicatedBlocks: -1, BlocksTotal: -1, CapacityTotal: -1}
	if err := c.Bean(ctx, addr, prefix+"FSNamesystemState", &s); err != nil {
		return s, err
	}
	for _, n := range []int64{s.NumLiveDataNodes, s.NumStaleDataNodes, s.UnderReplicatedBlocks, s.BlocksTotal, s.CapacityTotal} {
		if n < 0 {
			return s, &Error{Garbled, addr, "its FSNamesystemState lacks a number, or has one below zero"}
		}
	}
	return s, nil
}

// SystemMetrics is the bean FSNamesystem. Its numbers are up to ten seconds old.
type SystemMetrics struct {
	MissingBlocks, CorruptBlocks, MissingReplOneBlocks              int64
	HighestPriorityLowRedundancyReplicatedBlocks                    int64
	HighestPriorityLowRedundancyECBlocks                            int64
	PostponedMisreplicatedBlocks, NumTimedOutPendingReconstructions int64
	LastCheckpointTime                                              int64 // milliseconds since 1970.
	TransactionsSinceLastCheckpoint                                 int64
	LockQueueLength                                                 int64
}

// SystemMetrics reads what is not urgent.
func (c *Client) SystemMetrics(ctx context.Context, addr string) (SystemMetrics, error) {
	var s SystemMetrics
	err := c.Bean(ctx, addr, prefix+"FSNamesystem", &s)
	return s, err
}

// JVM is the bean JvmMetrics.
type JVM struct {
	MemHeapUsedM, MemHeapMaxM           float64 // MiB.
	GcTimeMillis, GcTotalExtraSleepTime int64
}

// JVM reads the memory of a NameNode's process.
func (c *Client) JVM(ctx context.Context, addr string) (JVM, error) {
	var j JVM
	err := c.Bean(ctx, addr, prefix+"JvmMetrics", &j)
	return j, err
}

// RPC is how long calls wait and last at one port.
type RPC struct {
	Port             string  `json:"-"`
	QueueMillis      float64 `json:"RpcQueueTimeAvgTime"`
	ProcessingMillis float64 `json:"RpcProcessingTimeAvgTime"`
	CallQueueLength  int64
}

// RPC reads the activity at every port on which a NameNode takes calls.
func (c *Client) RPC(ctx context.Context, addr string) ([]RPC, error) {
	const query = prefix + "RpcActivityForPort*"
	beans, err := c.Beans(ctx, addr, query)
	if err != nil {
		return nil, err
	}
	var out []RPC
	for _, b := range beans {
		var r struct {
			RPC

			Name string `json:"name"`
		}
		if err := into(addr, query, b, &r); err != nil {
			return nil, err
		}
		r.Port = strings.TrimPrefix(r.Name, strings.TrimSuffix(query, "*"))
		out = append(out, r.RPC)
	}
	return out, nil
}
