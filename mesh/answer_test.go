package mesh_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func TestParseAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		out  string
		want mesh.Answer
		ok   bool
	}{
		"the last line": {
			out:  "doing this\ndoing that\n{\"verdict\":\"ok\",\"facts\":{\"datanode\":\"dn2:9866\"}}\n\n",
			want: mesh.Answer{Verdict: mesh.VerdictOK, Facts: map[string]string{"datanode": "dn2:9866"}}, ok: true,
		},
		"progress": {
			out: `{"verdict":"wait","reason":"blocks are left","progress":{"state":"Decommission In Progress","left":3,"total":10,"unit":"blocks","rate":2.5}}`,
			want: mesh.Answer{Verdict: mesh.VerdictWait, Reason: "blocks are left", Progress: &mesh.Progress{
				State: "Decommission In Progress", Left: 3, Total: 10, Unit: "blocks", Rate: 2.5,
			}}, ok: true,
		},
		"nothing":              {out: ""},
		"words alone":          {out: "done"},
		"an answer, then text": {out: "{\"verdict\":\"ok\"}\ndone\n"},
		"two on a line":        {out: `{"verdict":"ok"}{"verdict":"no"}`},
		"half of one":          {out: `{"verdict":"ok","reason":"`},
		"another verdict":      {out: `{"verdict":"yes"}`},
		"no without a reason":  {out: `{"verdict":"no"}`},
		"a key of its own":     {out: `{"verdict":"ok","verdikt":"no"}`},
		"a name for a shell":   {out: `{"verdict":"ok","facts":{"A;B":"x"}}`},
		"a NUL":                {out: `{"verdict":"ok","facts":{"a":"x\u0000"}}`},
		"blocks below zero":    {out: `{"verdict":"ok","progress":{"left":-1}}`},
		"too much":             {out: `{"verdict":"ok","reason":"` + strings.Repeat("x", mesh.MaxAnswerText+1) + `"}`},
		"far too much":         {out: `{"verdict":"ok","reason":"` + strings.Repeat("x", mesh.MaxAnswer) + `"}`},
		"no UTF-8":             {out: "{\"verdict\":\"ok\",\"reason\":\"\xff\"}"},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := mesh.ParseAnswer([]byte(tt.out))
			if diff := cmp.Diff(tt.want, got); ok != tt.ok || ok && diff != "" {
				t.Errorf("ok is %t, want %t (-want +got):\n%s", ok, tt.ok, diff)
			}
		})
	}
}

func TestAnswerLine(t *testing.T) {
	long := strings.Repeat("ü", mesh.MaxAnswerText)
	for name, a := range map[string]mesh.Answer{
		"small":   {Verdict: mesh.VerdictOK, Evidence: map[string]string{"a b": "c\nd"}},
		"long":    {Verdict: mesh.VerdictNo, Reason: long, Facts: map[string]string{"a": long}},
		"no rate": {Verdict: mesh.VerdictOK, Progress: &mesh.Progress{Rate: math.NaN()}},
	} {
		got, ok := mesh.ParseAnswer(a.Line())
		if !ok {
			t.Errorf("%s: %s is read by nobody", name, a.Line())
		}
		if name == "small" {
			if diff := cmp.Diff(a, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"verdict":"wait","reason":"r","facts":{"a":"b"},"evidence":{"c":"d"},"progress":{"left":1,"rate":2}}`))
	f.Add([]byte("x\n{\"verdict\":\"ok\"}\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		a, ok := mesh.ParseAnswer(out)
		if !ok {
			return
		}
		again, ok := mesh.ParseAnswer(a.Line())
		if diff := cmp.Diff(a, again); !ok || diff != "" {
			t.Errorf("it changes on its way (-first +second):\n%s", diff)
		}
	})
}
