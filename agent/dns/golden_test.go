package dns

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden packets again")

// TestGoldenPackets holds every reply that has no order to choose to the byte.
func TestGoldenPackets(t *testing.T) {
	s := idle(t, options())
	nodes, services := sample()
	apply(t, s, build(t, 42, nodes, services))
	w := worker{s: s, rnd: 1, counts: new(counters)}
	var got strings.Builder
	for _, r := range rows() {
		if len(r.answer) > 1 {
			continue
		}
		for _, edns := range []bool{false, true} {
			in := packet(t, r.name, r.typ, nil)
			if edns {
				in = packet(t, r.name, r.typ, opt(1232, true))
			}
			reply, _ := w.answer(in, false)
			fmt.Fprintf(&got, "%s %s edns=%v %d bytes\n", r.name, r.typ, edns, len(reply))
			for at := 0; at < len(reply); at += 32 {
				fmt.Fprintf(&got, "  %s\n", hex.EncodeToString(reply[at:min(at+32, len(reply))]))
			}
		}
	}
	path := filepath.Join("testdata", "packets.golden")
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); d != "" {
		t.Errorf("if this is meant: go test ./agent/dns -run Golden -update\n%s", d)
	}
}
