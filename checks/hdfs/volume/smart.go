package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// smartAge is how long the answer of a disk is good for: asking wakes it.
const smartAge = time.Hour

// smartTime bounds one question.
const smartTime = 5 * time.Second

// smartCache keeps the answers of disks.
type smartCache struct {
	mu      sync.Mutex
	answers map[string]smartAnswer // by disk.
}

type smartAnswer struct {
	at time.Time
	health
}

// health is what a disk says of itself.
type health struct {
	Failing bool     // it says that it will fail, or has.
	Counts  []string // what it counts that it should not.
}

// smart asks a disk how it is, at most once an hour. It knows nothing of disks
// without smartctl, of virtual ones, and of those that do not answer.
func (v *Prober) smart(ctx context.Context, disk string) health {
	if disk == "" || v.smartctl == "" {
		return health{}
	}
	v.cache.mu.Lock()
	got, ok := v.cache.answers[disk]
	v.cache.mu.Unlock()
	if ok && time.Since(got.at) < smartAge {
		return got.health
	}
	ctx, cancel := context.WithTimeout(ctx, smartTime)
	defer cancel()
	out, err := v.spawn.output(ctx, "smart "+disk, []string{v.smartctl, "--json", "--health", "--attributes", "/dev/" + disk})
	if errors.Is(err, errHangs) && ctx.Err() == nil {
		return got.health // the last question is still open.
	}
	fresh := smartAnswer{at: time.Now(), health: parseSmart(out)}
	v.cache.mu.Lock()
	defer v.cache.mu.Unlock()
	if v.cache.answers == nil {
		v.cache.answers = make(map[string]smartAnswer)
	}
	v.cache.answers[disk] = fresh
	return fresh.health
}

// findSmartctl returns its path, "" without it.
func findSmartctl() string {
	for _, p := range []string{"smartctl", "/usr/sbin/smartctl", "/sbin/smartctl"} {
		if found, err := exec.LookPath(p); err == nil {
			return found
		}
	}
	return ""
}

// parseSmart reads the JSON of smartctl. What it does not say is well.
func parseSmart(out []byte) health {
	var s struct {
		Status struct {
			Passed *bool `json:"passed"`
		} `json:"smart_status"`
		ATA struct {
			Table []struct {
				ID  int `json:"id"`
				Raw struct {
					Value int64 `json:"value"`
				} `json:"raw"`
			} `json:"table"`
		} `json:"ata_smart_attributes"`
		NVMe struct {
			Warning int64 `json:"critical_warning"`
			Media   int64 `json:"media_errors"`
		} `json:"nvme_smart_health_information_log"`
	}
	if json.Unmarshal(out, &s) != nil {
		return health{}
	}
	h := health{Failing: s.Status.Passed != nil && !*s.Status.Passed || s.NVMe.Warning > 0}
	names := map[int]string{5: "reallocated sectors", 197: "pending sectors", 198: "uncorrectable sectors"}
	for _, a := range s.ATA.Table {
		if name := names[a.ID]; name != "" && a.Raw.Value > 0 && !slices.Contains(h.Counts, name) {
			h.Counts = append(h.Counts, name)
		}
	}
	if s.NVMe.Media > 0 {
		h.Counts = append(h.Counts, "media errors")
	}
	slices.Sort(h.Counts)
	return h
}

// String is what people are told.
func (h health) String() string { return fmt.Sprintf("SMART counts %s", strings.Join(h.Counts, ", ")) }
