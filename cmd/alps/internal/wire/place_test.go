package wire

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"alps/mesh"
	"alps/mesh/config"
)

// TestPlace is an agent's starts, one after the other, over the same data.
func TestPlace(t *testing.T) {
	dir := t.TempDir()
	says := "n1" // the name that Consul gives the node; empty: it is away.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if says == "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"Config":{"NodeName":%q,"Datacenter":"dc1"}}`, says)
	}))
	defer s.Close()
	cc, err := NewConsul(config.Consul{Address: s.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()

	for _, step := range []struct {
		name string
		says string
		want place
	}{
		{"the first start asks", "n1", place{Name: "n1", DC: "dc1"}},
		{"Consul is away", "", place{Name: "n1", DC: "dc1", kept: true}},
		{"Consul has another name", "n2", place{Name: "n2", DC: "dc1"}},
		{"the other name is kept", "", place{Name: "n2", DC: "dc1", kept: true}},
	} {
		t.Run(step.name, func(t *testing.T) {
			says = step.says
			got, err := findPlace(t.Context(), cc, dir, hclog.NewNullLogger())
			if err != nil || got != step.want {
				t.Errorf("the place is %+v, %v; want %+v", got, err, step.want)
			}
		})
	}

	t.Run("it starts again as what it is called", func(t *testing.T) {
		says = "n3"
		p := place{Name: "n2", DC: "dc1", kept: true}
		if err := p.confirm(cc)(t.Context()); mesh.CodeOf(err) != mesh.Conflict {
			t.Errorf("it goes on as n2: %v", err)
		}
	})
	t.Run("a file that cannot be read is no place", func(t *testing.T) {
		says = "n4"
		if err := os.WriteFile(filepath.Join(dir, placeFile), []byte(`{"name":`), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := findPlace(t.Context(), cc, dir, hclog.NewNullLogger())
		if want := (place{Name: "n4", DC: "dc1"}); err != nil || got != want {
			t.Errorf("the place is %+v, %v; want %+v", got, err, want)
		}
	})
}
