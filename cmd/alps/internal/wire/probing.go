package wire

import (
	"fmt"
	"os"

	"alps/checks"
	"alps/checks/all"
)

// VolumeVerb is the verb of this program that calls volume.Child. Nobody types
// it.
const VolumeVerb = "probe-volume"

// TryVolume is the command that tries a volume: this program, again.
func TryVolume() ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return []string{exe, VolumeVerb}, nil
}

// Probes are those that need no running agent, for who asks by hand or from a
// script.
func Probes() (*checks.Set, error) {
	try, err := TryVolume()
	if err != nil {
		return nil, err
	}
	packs, err := all.Packs(all.Env{TryVolume: try})
	if err != nil {
		return nil, err
	}
	return checks.NewSet(packs)
}
