package plugin

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"alps/mesh"
)

func TestParse(t *testing.T) {
	one := []mesh.Sample{{Name: "a", Value: 1}}
	two := []mesh.Sample{{Name: "a", Value: 1}, {Name: "b", Value: 2}}
	tests := map[string]struct {
		in      string
		text    string
		samples []mesh.Sample
	}{
		"nothing":                 {"", "", nil},
		"text":                    {"OK\n", "OK", nil},
		"text and perfdata":       {"OK | a=1\n", "OK", one},
		"several lines":           {"OK | a=1\nmore\nand more\n", "OK\nmore\nand more", one},
		"perfdata below as well":  {"OK | a=1\nmore | b=2\n", "OK\nmore", two},
		"perfdata on many lines":  {"OK\nmore | a=1\nb=2\n", "OK\nmore", two},
		"perfdata alone":          {"| a=1", "", one},
		"perfdata that is broken": {"OK | what is this\n", "OK", nil},
		"line ends of Windows":    {"OK | a=1\r\nmore\r\n", "OK\nmore", one},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			text, samples := Parse([]byte(tc.in))
			if text != tc.text {
				t.Errorf("text %q, want %q", text, tc.text)
			}
			if diff := cmp.Diff(tc.samples, samples); diff != "" {
				t.Errorf("samples (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParsePerfdata(t *testing.T) {
	tests := map[string]struct {
		in   string
		want []mesh.Sample
	}{
		"plain":                {"load1=0.5", []mesh.Sample{{Name: "load1", Value: 0.5}}},
		"all fields":           {"load1=0.5;5;10;0;99", []mesh.Sample{{Name: "load1", Value: 0.5, Warn: "5", Crit: "10", Min: "0", Max: "99"}}},
		"empty fields":         {"a=1;;10;;", []mesh.Sample{{Name: "a", Value: 1, Crit: "10"}}},
		"quoted":               {"'a b'=1", []mesh.Sample{{Name: "a b", Value: 1}}},
		"a quote in it":        {"'it''s'=1", []mesh.Sample{{Name: "it's", Value: 1}}},
		"an = in it":           {"'a=b'=1", []mesh.Sample{{Name: "a=b", Value: 1}}},
		"several":              {"a=1 b=2\tc=3", []mesh.Sample{{Name: "a", Value: 1}, {Name: "b", Value: 2}, {Name: "c", Value: 3}}},
		"percent":              {"a=50%;80;90", []mesh.Sample{{Name: "a", Value: 50, Unit: "%", Warn: "80", Crit: "90"}}},
		"counter":              {"a=7c", []mesh.Sample{{Name: "a", Value: 7, Unit: "c"}}},
		"milliseconds":         {"a=250ms;500:;~:1000", []mesh.Sample{{Name: "a", Value: 0.25, Unit: "s", Warn: "0.5:", Crit: "~:1"}}},
		"microseconds":         {"a=250us", []mesh.Sample{{Name: "a", Value: 250e-6, Unit: "s"}}},
		"kilobytes":            {"a=2KB;@1:3", []mesh.Sample{{Name: "a", Value: 2048, Unit: "B", Warn: "@1024:3072"}}},
		"gibibytes":            {"a=1GiB", []mesh.Sample{{Name: "a", Value: 1 << 30, Unit: "B"}}},
		"negative":             {"a=-1.5", []mesh.Sample{{Name: "a", Value: -1.5}}},
		"an exponent":          {"a=1.5e3s", []mesh.Sample{{Name: "a", Value: 1500, Unit: "s"}}},
		"a unit of one's own":  {"a=3eggs", []mesh.Sample{{Name: "a", Value: 3, Unit: "eggs"}}},
		"undetermined":         {"a=U b=2", []mesh.Sample{{Name: "b", Value: 2}}},
		"no number":            {"a=x b=2", []mesh.Sample{{Name: "b", Value: 2}}},
		"infinite":             {"a=1e999 b=2", []mesh.Sample{{Name: "b", Value: 2}}},
		"no label":             {"=1 b=2", []mesh.Sample{{Name: "b", Value: 2}}},
		"an open quote":        {"'a=1", nil},
		"a bad range":          {"a=1;what;10:x;@", []mesh.Sample{{Name: "a", Value: 1}}},
		"words without a sign": {"hello world b=2", []mesh.Sample{{Name: "b", Value: 2}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ParsePerfdata(tc.in)); diff != "" {
				t.Errorf("ParsePerfdata(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func TestPerfdataIsBounded(t *testing.T) {
	if n := len(ParsePerfdata(strings.Repeat("a=1 ", 10000))); n != MaxSamples {
		t.Errorf("%d samples, want %d", n, MaxSamples)
	}
	got := ParsePerfdata("'" + strings.Repeat("磁", 1000) + "'=1")
	if len(got) != 1 || len(got[0].Name) > maxLabel || !utf8.ValidString(got[0].Name) {
		t.Errorf("a long label became %+v", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"OK | a=1;2;3;4;5\nmore | 'b c'=2ms", "|'", "| ''='' =", "|a=1e", "|a=+-.;@~:;:;1:2:3", "\xff|\xff=1\xff", "|a=1EB;;;",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		text, samples := Parse(in)
		if len(text) > len(in) || len(samples) > MaxSamples {
			t.Fatalf("%d bytes of text and %d samples of %d bytes", len(text), len(samples), len(in))
		}
		for _, s := range samples {
			if s.Name == "" || len(s.Name) > maxLabel || math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
				t.Errorf("sample %+v", s)
			}
			for _, word := range []string{s.Name, s.Unit, s.Warn, s.Crit, s.Min, s.Max} {
				if !utf8.ValidString(word) || len(word) > maxLabel || strings.ContainsAny(word, "\n\x00") {
					t.Errorf("sample %+v", s)
				}
			}
			// What was read once reads the same again.
			again := ParsePerfdata(print1(s))
			if len(again) != 1 || again[0].Warn != s.Warn || math.Abs(again[0].Value-s.Value) > math.Abs(s.Value)*1e-9 {
				t.Errorf("%+v printed as %q reads as %+v", s, print1(s), again)
			}
		}
	})
}

// print1 prints a sample as a plugin does.
func print1(s mesh.Sample) string {
	return "'" + strings.ReplaceAll(s.Name, "'", "''") + "'=" + strconv.FormatFloat(s.Value, 'g', -1, 64) + s.Unit + ";" + s.Warn
}
