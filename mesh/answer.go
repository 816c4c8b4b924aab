package mesh

import (
	"bytes"
	"encoding/json"
	"regexp"
	"unicode/utf8"
)

// Verdict is what a script of a policy's plan says about what it was asked.
type Verdict string

// The verdicts. What each means for a plan is said where the plan is carried
// out; a script says what it has seen.
const (
	VerdictOK   Verdict = "ok"   // agreed, done, proven.
	VerdictNo   Verdict = "no"   // refused, failed, will never be proven.
	VerdictSkip Verdict = "skip" // not a case for this rung of the ladder.
	VerdictWait Verdict = "wait" // not yet: ask again.
)

// Answer is what a script of a policy's plan found, did or proved. It is the
// last line of its standard output, one JSON object:
//
//	{"verdict": "no", "reason": "safe mode is on", "evidence": {"namenode": "nn1:9870"}}
type Answer struct {
	Verdict Verdict `json:"verdict"`
	// Reason is one sentence for people. An answer other than ok has one.
	Reason string `json:"reason,omitempty"`
	// Facts are given to the scripts that follow, as ALPS_FACT_<NAME>.
	Facts map[string]string `json:"facts,omitempty"`
	// Evidence is what the answer leans on, by name: numbers as text too.
	Evidence map[string]string `json:"evidence,omitempty"`
	Progress *Progress         `json:"progress,omitempty"`
}

// Progress is how far something long has come.
type Progress struct {
	State string  `json:"state,omitempty"` // in the words of what is watched: "Decommission In Progress".
	Left  int64   `json:"left"`
	Total int64   `json:"total,omitempty"` // zero: nobody knows.
	Unit  string  `json:"unit,omitempty"`  // "blocks".
	Rate  float64 `json:"rate,omitempty"`  // per second, lately; zero: nobody knows.
}

// Limits of an answer. One that is beyond them is none: whoever says too much
// has said nothing that can be relied upon.
const (
	MaxAnswer      = 32 << 10 // bytes of its line.
	MaxAnswerItems = 64       // facts, and as many items of evidence.
	MaxAnswerText  = 1 << 10  // bytes of the reason and of each value.
)

var factName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// ParseAnswer returns the answer in the standard output of a script: its last
// line that is not empty. False means that there is none, or one that breaks a
// rule; then nothing was said.
func ParseAnswer(stdout []byte) (Answer, bool) {
	line := bytes.TrimSpace(stdout)
	if i := bytes.LastIndexByte(line, '\n'); i >= 0 {
		line = bytes.TrimSpace(line[i+1:])
	}
	if len(line) == 0 || len(line) > MaxAnswer || line[0] != '{' || !utf8.Valid(line) {
		return Answer{}, false
	}
	var a Answer
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if d.Decode(&a) != nil || d.More() || !a.valid() {
		return Answer{}, false
	}
	if len(a.Facts) == 0 {
		a.Facts = nil
	}
	if len(a.Evidence) == 0 {
		a.Evidence = nil
	}
	return a, true
}

func (a *Answer) valid() bool {
	switch a.Verdict {
	case VerdictOK:
	case VerdictNo, VerdictSkip, VerdictWait:
		if a.Reason == "" {
			return false
		}
	default:
		return false
	}
	if len(a.Reason) > MaxAnswerText || len(a.Facts) > MaxAnswerItems || len(a.Evidence) > MaxAnswerItems {
		return false
	}
	for name, v := range a.Facts {
		if !factName.MatchString(name) || len(v) > MaxAnswerText || bytes.ContainsRune([]byte(v), 0) {
			return false
		}
	}
	for name, v := range a.Evidence {
		if name == "" || len(name) > MaxAnswerText || len(v) > MaxAnswerText {
			return false
		}
	}
	p := a.Progress
	return p == nil || p.Left >= 0 && p.Total >= 0 && p.Rate >= 0
}

// Line is a as ParseAnswer reads it, with its newline. Texts that are too long
// are cut, and evidence that is too much in all is left out.
func (a Answer) Line() []byte {
	a.Reason = cut(a.Reason)
	a.Facts, a.Evidence = cutAll(a.Facts), cutAll(a.Evidence)
	line, err := encode(a)
	if err == nil && len(line) > MaxAnswer {
		a.Evidence = map[string]string{"left out": "there was too much of it"}
		line, err = encode(a)
	}
	if err != nil { // a rate that is no number.
		line, _ = encode(Answer{Verdict: VerdictNo, Reason: "the answer cannot be written: " + err.Error()})
	}
	return line
}

// encode writes one line; it does not make < longer than it is.
func encode(a Answer) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(a)
	return b.Bytes(), err
}

func cutAll(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = cut(v)
	}
	return out
}

func cut(s string) string {
	if len(s) <= MaxAnswerText {
		return s
	}
	end := MaxAnswerText - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
