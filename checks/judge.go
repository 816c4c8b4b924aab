package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"alps/mesh"
)

// Judge answers a question of a plan, such as whether it is safe to act. It only
// reads. It may be called from several goroutines at once, and returns soon
// after ctx ends.
type Judge struct {
	// Keys are the names of all that it may be told.
	Keys []string
	Ask  func(ctx context.Context, a Args) mesh.Answer
}

// Args is what a judge is told: what the caller says, and beyond it the facts
// that earlier steps of the plan have found.
type Args struct {
	given map[string]string
	facts map[string]string
}

// envFact begins the variables in which a job finds its facts.
const envFact = "ALPS_FACT_"

// NewArgs makes Args of what the caller gives and of an environment, as
// os.Environ returns it.
func NewArgs(given map[string]string, environ []string) Args {
	a := Args{given: given, facts: make(map[string]string)}
	for _, entry := range environ {
		if name, v, ok := strings.Cut(entry, "="); ok {
			if fact, is := strings.CutPrefix(name, envFact); is {
				a.facts[strings.ToLower(fact)] = v
			}
		}
	}
	return a
}

// Get returns an argument, else the fact of that name, else "".
func (a Args) Get(name string) string {
	if v, ok := a.given[name]; ok {
		return v
	}
	return a.facts[name]
}

// Refuse is the answer no, with its reason.
func Refuse(format string, args ...any) mesh.Answer {
	return mesh.Answer{Verdict: mesh.VerdictNo, Reason: fmt.Sprintf(format, args...)}
}

// Wait is the answer that it is too early for one, with its reason.
func Wait(format string, args ...any) mesh.Answer {
	return mesh.Answer{Verdict: mesh.VerdictWait, Reason: fmt.Sprintf(format, args...)}
}

// Judges lists the judges of all packs, sorted.
func (s *Set) Judges() []string {
	var names []string
	for n := range s.judges {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Ask asks a judge. What is wrong with the question, or with the judge, is the
// answer no. The answer is one that mesh.ParseAnswer takes.
func (s *Set) Ask(ctx context.Context, judge string, a Args) (answer mesh.Answer) {
	j, ok := s.judges[judge]
	if !ok {
		return Refuse("there is no judge %q: it is none of %s", short(judge), strings.Join(s.Judges(), ", "))
	}
	for name := range a.given {
		if !slices.Contains(j.Keys, name) {
			return Refuse("%s knows no %q: it may be told %s", judge, short(name), strings.Join(j.Keys, ", "))
		}
	}
	defer func() {
		if p := recover(); p != nil {
			answer = Refuse("%s has a fault: %v", judge, p)
		}
	}()
	answer = j.Ask(ctx, a)
	if _, ok := mesh.ParseAnswer(answer.Line()); !ok {
		return Refuse("%s gave no answer", judge)
	}
	return answer
}
