package plugin

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"alps/mesh"
)

// The limits of the numbers that one result carries. A script that has more to
// say is a collector, not a check.
const (
	MaxSamples = 256
	maxLabel   = 128
	maxRange   = 64
	maxUnit    = 16
)

// Parse cuts what a plugin printed into text and numbers. What stands behind
// the first | of the first line is perfdata, and so is everything behind the
// next | in the lines below it. Perfdata that cannot be read is left out; it
// never spoils the rest. The text is not cut and need not be UTF-8.
func Parse(stdout []byte) (text string, samples []mesh.Sample) {
	first, rest, _ := bytes.Cut(stdout, []byte("\n"))
	head, perf, _ := bytes.Cut(first, []byte("|"))
	long, more, _ := bytes.Cut(rest, []byte("|"))
	text = strings.TrimRight(string(head), " \t\r") + "\n" + string(long)
	samples = appendSamples(nil, string(perf))
	samples = appendSamples(samples, string(more))
	return strings.TrimSpace(text), samples
}

// ParsePerfdata reads 'label'=value[unit];[warn];[crit];[min];[max], several of
// them with space between. Units are brought to their base: ms to s, KB (of
// 1024 bytes, as the plugins that print it mean it) to B, and with them the
// ranges. What cannot be read is left out, and so is a value that the plugin
// could not determine (U). At most MaxSamples are returned.
func ParsePerfdata(s string) []mesh.Sample { return appendSamples(nil, s) }

func appendSamples(to []mesh.Sample, s string) []mesh.Sample {
	for len(to) < MaxSamples {
		label, value, rest, ok := nextPerf(s)
		if !ok {
			break
		}
		s = rest
		if p, ok := parseSample(label, value); ok {
			to = append(to, p)
		}
	}
	return to
}

// nextPerf cuts the next label=value off s. ok is false when there is none.
func nextPerf(s string) (label, value, rest string, ok bool) {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" {
			return "", "", "", false
		}
		var found bool
		if s[0] == '\'' {
			label, s, found = cutQuoted(s[1:])
		} else {
			label, s, found = cutPlain(s)
		}
		if !found {
			continue // not a label: what follows the space may be one.
		}
		end := strings.IndexAny(s, " \t\r\n")
		if end < 0 {
			end = len(s)
		}
		return label, s[:end], s[end:], true
	}
}

// cutQuoted reads up to the closing quote and the = behind it; a doubled quote
// is one. found is false when they are not there.
func cutQuoted(s string) (label, rest string, found bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\'':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case i+1 < len(s) && s[i+1] == '=':
			return b.String(), s[i+2:], true
		default:
			return "", s[i+1:], false
		}
	}
	return "", "", false
}

func cutPlain(s string) (label, rest string, found bool) {
	i := strings.IndexAny(s, "= \t\r\n")
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], s[i] == '=' && i > 0
}

func parseSample(label, value string) (mesh.Sample, bool) {
	f := strings.Split(value, ";")
	number, unit := cutNumber(f[0])
	v, err := strconv.ParseFloat(number, 64)
	label = clean(label, maxLabel)
	if err != nil || label == "" || math.IsInf(v, 0) || math.IsNaN(v) {
		return mesh.Sample{}, false
	}
	unit, factor := base(unit)
	if v *= factor; math.IsInf(v, 0) {
		return mesh.Sample{}, false
	}
	p := mesh.Sample{Name: label, Value: v, Unit: unit}
	for i, to := range []*string{&p.Warn, &p.Crit, &p.Min, &p.Max} {
		if i+1 < len(f) {
			*to = scaleRange(f[i+1], factor)
		}
	}
	return p, true
}

// cutNumber cuts a value into its number and its unit.
func cutNumber(s string) (number, unit string) {
	i := 0
	for i < len(s) && strings.IndexByte("+-.0123456789", s[i]) >= 0 {
		i++
	}
	// An exponent, but not the E of a unit that begins with it.
	if j := i + 1; i > 0 && j < len(s) && s[i]|0x20 == 'e' {
		if s[j] == '+' || s[j] == '-' {
			j++
		}
		k := j
		for k < len(s) && '0' <= s[k] && s[k] <= '9' {
			k++
		}
		if k > j {
			i = k
		}
	}
	return s[:i], s[i:]
}

// base returns the base unit of a unit and what to multiply with.
func base(unit string) (string, float64) {
	switch strings.ToLower(unit) {
	case "s":
		return "s", 1
	case "ms":
		return "s", 1e-3
	case "us", "µs":
		return "s", 1e-6
	case "ns":
		return "s", 1e-9
	case "b":
		return "B", 1
	case "kb", "kib":
		return "B", 1 << 10
	case "mb", "mib":
		return "B", 1 << 20
	case "gb", "gib":
		return "B", 1 << 30
	case "tb", "tib":
		return "B", 1 << 40
	case "pb", "pib":
		return "B", 1 << 50
	}
	if len(unit) > maxUnit || !utf8.ValidString(unit) || strings.ContainsFunc(unit, notOfUnit) {
		return "", 1
	}
	return unit, 1
}

// notOfUnit reports whether a unit that makes sense does not have r.
func notOfUnit(r rune) bool { return !unicode.IsLetter(r) && !strings.ContainsRune("%/°", r) }

// scaleRange multiplies the numbers of a range: 10, 10:, ~:10, 10:20, @10:20.
// What is no range becomes empty.
func scaleRange(s string, factor float64) string {
	in, inside := strings.CutPrefix(s, "@")
	low, high, isRange := strings.Cut(in, ":")
	ends := []string{low}
	if isRange {
		ends = append(ends, high)
	}
	for i, e := range ends {
		if e == "" && isRange || e == "~" && isRange && i == 0 {
			continue
		}
		v, err := strconv.ParseFloat(e, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v*factor, 0) {
			return ""
		}
		if factor != 1 {
			ends[i] = strconv.FormatFloat(v*factor, 'g', -1, 64)
		}
	}
	out := strings.Join(ends, ":")
	if inside {
		out = "@" + out
	}
	if len(out) > maxRange {
		return ""
	}
	return out
}

// clean makes a foreign word fit to be shown: valid UTF-8 without control
// characters, at most so many bytes.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
