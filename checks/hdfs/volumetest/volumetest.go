// Package volumetest has a test program play the child that tries a volume: it
// is the only program that a test has at hand.
//
//	func TestMain(m *testing.M) { volumetest.Main(m) }
//
//	volume.New(volume.Options{Child: []string{exe, volumetest.Arg}})
//
// Nothing but tests imports it.
package volumetest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"alps/checks/hdfs/volume"
)

// Arg makes the test program the child; the directory follows.
const Arg = "volume-test-child"

// Main is the child where the program was started as one. Otherwise it runs the
// tests and looks for goroutines that they have left.
func Main(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == Arg {
		if err := volume.Child(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
