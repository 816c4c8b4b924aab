package mesh

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Share is a part of many: a percentage, or a number.
type Share struct {
	percent, number int
	isPercent       bool
}

// ParseShare reads "50%" or "3". The empty text is everything.
func ParseShare(s string) (Share, error) {
	if s == "" {
		return Share{percent: 100, isPercent: true}, nil
	}
	digits, isPercent := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || isPercent && n > 100 || strings.HasPrefix(digits, "+") {
		return Share{}, fmt.Errorf(`%q is no share: want a percentage such as "50%%", or a number such as "1"`, s)
	}
	if isPercent {
		return Share{percent: n, isPercent: true}, nil
	}
	return Share{number: n}, nil
}

// Of is how many of n it is, rounded up: half of three is two.
func (s Share) Of(n int) int {
	if s.isPercent {
		return (n*s.percent + 99) / 100
	}
	return s.number
}

// Window is a time of day on some days of the week. The zero Window is never.
type Window struct {
	days     [7]bool // by time.Weekday: on which it begins.
	from, to int     // minutes of the day; to is at most a day behind from.
}

func weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// ParseWindow reads "22:00-04:00", "sat 22:00-04:00" or "mon-fri 09:00-17:00".
// One that ends before it begins ends on the next day.
func ParseWindow(s string) (Window, error) {
	var w Window
	bad := fmt.Errorf(`%q is no window: want "22:00-04:00", "sat 22:00-04:00" or "mon-fri 09:00-17:00"`, s)
	fields := strings.Fields(strings.ToLower(s))
	if len(fields) == 1 {
		fields = []string{"sun-sat", fields[0]}
	}
	if len(fields) != 2 {
		return w, bad
	}
	first, last, ranged := strings.Cut(fields[0], "-")
	if !ranged {
		last = first
	}
	a, b := slices.Index(weekdays(), first), slices.Index(weekdays(), last)
	from, to, ok := strings.Cut(fields[1], "-")
	if a < 0 || b < 0 || !ok {
		return w, bad
	}
	for d := a; ; d = (d + 1) % len(w.days) {
		w.days[d] = true
		if d == b {
			break
		}
	}
	var okFrom, okTo bool
	w.from, okFrom = minuteOfDay(from)
	w.to, okTo = minuteOfDay(to)
	if !okFrom || !okTo || w.from == minutesOfDay {
		return Window{}, bad
	}
	if w.to <= w.from {
		w.to += minutesOfDay
	}
	return w, nil
}

const minutesOfDay = 24 * 60

// minuteOfDay reads "09:30". The end of a day is 24:00.
func minuteOfDay(s string) (int, bool) {
	if len(s) != len("09:30") || s[2] != ':' {
		return 0, false
	}
	h, errH := strconv.ParseUint(s[:2], 10, 8)
	m, errM := strconv.ParseUint(s[3:], 10, 8)
	n := int(h)*60 + int(m)
	return n, errH == nil && errM == nil && m < 60 && n <= minutesOfDay
}

// Holds reports whether t lies in the window, in the zone of t.
func (w Window) Holds(t time.Time) bool {
	at, day := t.Hour()*60+t.Minute(), int(t.Weekday())
	before := (day + 6) % 7
	return w.days[day] && at >= w.from && at < w.to || w.days[before] && at+minutesOfDay < w.to
}
