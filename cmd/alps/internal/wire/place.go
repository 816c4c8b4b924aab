package wire

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/pki"
)

const (
	placeFile = "place.json"
	// placeTime is how long an agent that knows its place waits for Consul to
	// say it again, and how often it asks later.
	placeTime = 3 * time.Second
)

// place is which node of Consul an agent stands beside. An agent keeps it, so
// that it starts, and answers names, while Consul is away.
type place struct {
	Name mesh.NodeName `json:"name"`
	DC   string        `json:"dc"`

	kept bool // Consul has not said so since the start.
}

// findPlace asks the local Consul agent. While that does not answer it returns
// the place of the last start; on the first start it waits.
func findPlace(ctx context.Context, cc *consul.Client, dir string, log hclog.Logger) (place, error) {
	last, err := readPlace(dir)
	if err != nil {
		log.Warn("the node's place is asked of Consul again", "error", err)
	}
	if last != (place{}) {
		actx, cancel := context.WithTimeout(ctx, placeTime)
		self, err := cc.Self(actx)
		cancel()
		switch {
		case err == nil:
			return keepPlace(dir, self)
		case mesh.CodeOf(err) == mesh.Denied || ctx.Err() != nil:
			return place{}, err
		}
		log.Warn("the local Consul agent does not answer: starting with what it said last", "name", last.Name, "dc", last.DC, "error", err)
		last.kept = true
		return last, nil
	}
	self, err := whoAmI(ctx, cc, log)
	if err != nil {
		return place{}, err
	}
	return keepPlace(dir, self)
}

// readPlace returns the zero place when there is none.
func readPlace(dir string) (place, error) {
	var p place
	b, err := os.ReadFile(filepath.Join(dir, placeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err == nil && (p.Name == "" || p.DC == "") {
		err = errors.New("it names no node")
	}
	if err != nil {
		return place{}, mesh.Errorf(mesh.Invalid, "read the node's place: %w", err)
	}
	return p, nil
}

func keepPlace(dir string, self consul.Self) (place, error) {
	p := place{Name: self.Name, DC: self.Datacenter}
	b, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	if err := pki.WriteFile(filepath.Join(dir, placeFile), b, 0o600); err != nil {
		return p, mesh.Errorf(mesh.Internal, "keep the node's place: %w", err)
	}
	return p, nil
}

// confirm returns a part that has Consul say the place again, and fails when
// it is another by now: everything in the agent is called by it.
func (p place) confirm(cc *consul.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		for confirmed := !p.kept; !confirmed; {
			self, err := cc.Self(ctx)
			if err == nil && (self.Name != p.Name || self.Datacenter != p.DC) {
				return mesh.Errorf(mesh.Conflict, "this agent started as %s of %s, and Consul calls the node %s of %s", p.Name, p.DC, self.Name, self.Datacenter).
					WithHint("start the agent again")
			}
			confirmed = err == nil
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(placeTime):
			}
		}
		<-ctx.Done()
		return nil
	}
}
