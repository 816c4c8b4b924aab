package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	probes "alps/checks"
	"alps/checks/hdfs/volume"
	"alps/cmd/alps/internal/wire"
	"alps/mesh"
)

func newProbe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "probe NAME [KEY=VALUE]...",
		Short: "Run a probe on this machine now, or ask a judge of a remediation",
		Long: `Run a probe on this machine now, without an agent, or ask a judge of a
remediation plan. A KEY is a setting of the probe, or what the judge is told; a
judge takes what it is not told from the variables ALPS_FACT_<KEY>.

A probe prints its output. A judge prints its answer as one line of JSON, and
has done its work whatever the answer is.

Exit codes: 0 the probe passes, or the judge has answered; 1 the probe does not
pass; 2 a KEY makes no sense; 3 there is no such probe.`,
		Example: `  alps probe hdfs.volumes
  alps probe host.disk warn=80% --json
  alps probe hdfs.may-leave datanode=dn1.example.com:9866`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := keyValues(args[1:])
			if err != nil {
				return err
			}
			set, err := wire.Probes()
			if err != nil {
				return err
			}
			name := args[0]
			switch {
			case slices.Contains(set.Judges(), name):
				_, err := a.out.Write(set.Ask(cmd.Context(), name, probes.NewArgs(given, os.Environ())).Line())
				return err
			case slices.Contains(set.Names(), name):
				return a.printProbe(name, set.Run(cmd.Context(), name, given))
			}
			return mesh.Errorf(mesh.NotFound, "there is no probe %q", name).
				WithHint("one of %s", strings.Join(slices.Concat(set.Names(), set.Judges()), ", "))
		},
	}
}

// keyValues reads KEY=VALUE arguments.
func keyValues(args []string) (map[string]string, error) {
	out := make(map[string]string)
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, usagef("want KEY=VALUE, got %q", arg)
		}
		if _, ok := out[key]; ok {
			return nil, usagef("%s is given twice", key)
		}
		out[key] = value
	}
	return out, nil
}

func (a *app) printProbe(name string, r probes.Result) error {
	if a.json {
		v := struct {
			Probe   string        `json:"probe"`
			Status  mesh.Health   `json:"status"`
			Output  string        `json:"output"`
			Samples []mesh.Sample `json:"samples,omitempty"`
			Disks   []string      `json:"disks,omitempty"`
		}{name, r.Status, r.Output, r.Samples, r.Disks}
		if err := a.printJSON(v); err != nil {
			return err
		}
	} else {
		lines := strings.Split(r.Output, "\n")
		for i, l := range lines {
			lines[i] = printable(l)
		}
		fmt.Fprintf(a.out, "%s: %s\n", r.Status, strings.Join(lines, "\n  "))
	}
	if r.Status != mesh.HealthPassing {
		return silentError{exitFailed}
	}
	return nil
}

// newProbeVolume is what package volume starts as a child of an agent.
func newProbeVolume(a *app) *cobra.Command {
	return &cobra.Command{
		Use: wire.VolumeVerb + " DIR", Short: "Write to a volume and read it back", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return volume.Child(args[0], a.out) },
	}
}
