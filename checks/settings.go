package checks

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Off as a threshold means never. It reads as NaN, which compares as false with
// everything.
const Off = "off"

// Settings is the settings of one run of a probe. A probe reads all that it
// needs and then asks Err once. It is for one goroutine.
type Settings struct {
	values map[string]string
	errs   []error
}

// NewSettings lays the given settings over the defaults. A name that has no
// default does not exist, which Err will say.
func NewSettings(defaults, given map[string]string) *Settings {
	s := &Settings{values: make(map[string]string)}
	var known []string
	for name, v := range defaults {
		s.values[name] = v
		known = append(known, name)
	}
	slices.Sort(known)
	for name, v := range given {
		if _, ok := defaults[name]; !ok {
			s.errs = append(s.errs, fmt.Errorf("there is no setting %q: want one of %s", short(name), strings.Join(known, ", ")))
			continue
		}
		s.values[name] = v
	}
	// Maps have no order, and a check's output must not change by itself.
	slices.SortFunc(s.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return s
}

// Err is everything that is wrong with the settings that were read, in one
// line; nil when nothing is.
func (s *Settings) Err() error {
	if len(s.errs) == 0 {
		return nil
	}
	texts := make([]string, len(s.errs))
	for i, err := range s.errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

func (s *Settings) badf(name, want string) {
	s.errs = append(s.errs, fmt.Errorf("setting %s: want %s, got %q", name, want, short(s.values[name])))
}

// Text returns a setting as it is.
func (s *Settings) Text(name string) string {
	v, ok := s.values[name]
	if !ok {
		s.errs = append(s.errs, fmt.Errorf("setting %s has no default", name))
	}
	return strings.TrimSpace(v)
}

// Words returns a setting as its words; commas and spaces stand between them.
func (s *Settings) Words(name string) []string {
	return strings.FieldsFunc(s.Text(name), func(r rune) bool { return r == ',' || r <= ' ' })
}

// Number returns a threshold that is not negative, such as "3" or "0.5".
func (s *Settings) Number(name string) float64 {
	return s.number(name, `a number such as "3", or "off"`, s.Text(name))
}

// Percent returns a threshold between 0 and 100, such as "90%" or "90".
func (s *Settings) Percent(name string) float64 {
	want := `a percentage such as "90%", or "off"`
	before := len(s.errs)
	v := s.number(name, want, strings.TrimSuffix(s.Text(name), "%"))
	if v > 100 && before == len(s.errs) {
		s.badf(name, want)
	}
	return v
}

// Size returns a threshold in bytes, such as "20GB" (10^9) or "20GiB" (2^30).
func (s *Settings) Size(name string) float64 {
	text := s.Text(name)
	digits := strings.TrimRight(text, "KMGTPiB")
	unit := map[string]float64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50,
	}[text[len(digits):]]
	want := `a size such as "20GB" or "20GiB", or "off"`
	if unit == 0 {
		s.badf(name, want)
		return math.NaN()
	}
	v := s.number(name, want, digits) * unit
	if math.IsInf(v, 0) {
		s.badf(name, want)
		return math.NaN()
	}
	return v
}

// Duration returns a threshold such as "1s" or "5m" in seconds.
func (s *Settings) Duration(name string) float64 {
	text := s.Text(name)
	if text == Off {
		return math.NaN()
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		s.badf(name, `a duration such as "1s" or "5m", or "off"`)
		return math.NaN()
	}
	return d.Seconds()
}

func (s *Settings) number(name, want, text string) float64 {
	if text == Off {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		s.badf(name, want)
		return math.NaN()
	}
	return v
}

// Bound writes a threshold as perfdata has it; nothing for one that is off.
func Bound(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// short keeps what somebody has typed from filling an output.
func short(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
