package job

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"alps/mesh"
	"alps/mesh/query"
)

// What a request may ask for, and what it gets when it does not ask.
const (
	DefaultTimeout = 10 * time.Minute // long enough for a package upgrade, short enough to notice a hang.
	MaxTimeout     = 24 * time.Hour
	DefaultGrace   = 10 * time.Second
	MaxGrace       = 10 * time.Minute
	DefaultExpiry  = time.Hour // how long a node that is away may come back and run it.
	MinExpiry      = 5 * time.Second
	MaxExpiry      = 7 * 24 * time.Hour
	// MaxTargets is the longest target list. Its parts must fit into one
	// Consul transaction each.
	MaxTargets = 100_000
	// MaxWaves bounds the Raft entries of a job: each wave costs one.
	MaxWaves = 1000
)

// Limits is what holds for requests that say nothing else. Zero fields take
// the constants above.
type Limits struct {
	Timeout    time.Duration
	Expiry     time.Duration
	MaxTargets int
}

func (l *Limits) complete() error {
	l.Timeout = cmp.Or(l.Timeout, DefaultTimeout)
	l.Expiry = cmp.Or(l.Expiry, DefaultExpiry)
	l.MaxTargets = cmp.Or(l.MaxTargets, MaxTargets)
	switch {
	case l.Timeout < time.Second || l.Timeout > MaxTimeout:
		return mesh.Errorf(mesh.Invalid, "a default timeout of jobs of %s is not between 1s and %s", l.Timeout, MaxTimeout)
	case l.Expiry < MinExpiry || l.Expiry > MaxExpiry:
		return mesh.Errorf(mesh.Invalid, "a default expiry of jobs of %s is not between %s and %s", l.Expiry, MinExpiry, MaxExpiry)
	case l.MaxTargets < 1 || l.MaxTargets > MaxTargets:
		return mesh.Errorf(mesh.Invalid, "%d targets of a job are not between 1 and %d", l.MaxTargets, MaxTargets)
	}
	return nil
}

// Actor is on whose behalf something is asked.
type Actor struct {
	Name string
	From string // address of the request, for the audit.
	// Scope is which nodes the actor sees and reaches. A nil Scope reaches
	// none.
	Scope *query.Expr
}

// Unlimited reports whether a reaches every node, also those that the
// inventory has forgotten.
func (a Actor) Unlimited() bool { return a.Scope != nil && a.Scope.String() == "all" }

func (a Actor) reaches(n *mesh.Node) bool { return a.Scope != nil && a.Scope.Match(n) }

// Request is what somebody wants done. Exactly one of Command and Script is
// set. Durations are whole seconds; zero takes the default.
type Request struct {
	Target  string            `json:"target"`
	Command []string          `json:"command,omitempty"`
	Script  *Script           `json:"script,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	RunAs   string            `json:"run_as,omitempty"`
	Timeout time.Duration     `json:"timeout,omitempty"`
	Grace   time.Duration     `json:"grace,omitempty"`
	// ExpiresIn is how long after its submission the job may still start.
	ExpiresIn  time.Duration `json:"expires_in,omitempty"`
	Idempotent bool          `json:"idempotent,omitempty"`
	// AllowMissing accepts names in Target that no node has.
	AllowMissing bool `json:"allow_missing,omitempty"`
	// Token makes repeating a submission safe: the same author, token and
	// content get the same job.
	Token string `json:"-"`
	// ID is chosen by a caller inside the server, in place of a Token: the job
	// is submitted at most once, by whichever server. Such a job is signed by
	// the server or not at all.
	ID mesh.JobID `json:"-"`
	// Fence, with an ID, has the job announced only while a lock is held. A
	// job whose lock was lost first is stored and is not announced, not after
	// a restart either, until it is submitted again with a new Fence; otherwise
	// it expires.
	Fence *Fence `json:"-"`

	// Canary is how many nodes run it first; Batch how many at once after
	// them, as a number or a percentage of the list; MaxFail how many may
	// fail before no further wave is opened (default 0 when there are waves).
	// Confirm has an operator open the wave after the canary.
	Canary  int    `json:"canary,omitempty"`
	Batch   string `json:"batch,omitempty"`
	MaxFail string `json:"max_fail,omitempty"`
	Confirm bool   `json:"confirm,omitempty"`
}

// Fence is a lock in the server's own datacenter, and the session that must
// hold it.
type Fence struct {
	Key     string
	Session string
}

// chosenToken begins the submit token of a job whose ID was chosen.
const chosenToken = "id/"

// chosen completes a request whose ID is chosen by its caller.
func (r Request) chosen() (Request, error) {
	switch {
	case r.ID == "" && r.Fence != nil:
		return r, mesh.Errorf(mesh.Invalid, "a job with a fence needs an id of its own")
	case r.ID == "" && strings.HasPrefix(r.Token, chosenToken):
		return r, mesh.Errorf(mesh.Invalid, "a submit token cannot begin with %q", chosenToken)
	case r.ID == "":
		return r, nil
	case r.Token != "":
		return r, mesh.Errorf(mesh.Invalid, "a job has an id of its own or a submit token, not both")
	}
	if _, err := mesh.ParseJobID(string(r.ID)); err != nil {
		return r, mesh.Errorf(mesh.Invalid, "%w", err)
	}
	r.Token = chosenToken + string(r.ID)
	return r, nil
}

// Script is a file to run: any executable format, found out by the node.
type Script struct {
	Name string `json:"name"`
	Body []byte `json:"body"`
}

// content is a digest of everything that is asked, to compare two uses of one
// submit token.
func (r Request) content() string {
	b, err := json.Marshal(r)
	if err != nil { // a Request holds nothing that JSON cannot.
		return ""
	}
	return mesh.Digest(b)
}

// title is one line that says what runs.
func (r Request) title() string {
	words := r.Command
	if r.Script != nil {
		words = append([]string{r.Script.Name}, r.Args...)
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; w == "" || strings.ContainsAny(w, " \t\n\r\"'\\$`;&|<>*?()") {
			quoted[i] = strconv.Quote(w)
		}
	}
	const most = 200
	line := strings.ToValidUTF8(strings.Join(quoted, " "), "\uFFFD")
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return line
}

// complete checks r and returns it with the defaults of l filled in.
func (r Request) complete(l Limits) (Request, error) {
	switch {
	case len(r.Command) > 0 && r.Script != nil:
		return r, mesh.Errorf(mesh.Invalid, "a job runs a command or a script, not both")
	case len(r.Command) == 0 && r.Script == nil:
		return r, mesh.Errorf(mesh.Invalid, "there is nothing to run").
			WithHint("alps exec -t EXPR -- COMMAND …, or alps exec -t EXPR --script FILE")
	case len(r.Command) > 0 && r.Command[0] == "":
		return r, mesh.Errorf(mesh.Invalid, "the command is empty")
	case len(r.Command) > 0 && len(r.Args) > 0:
		return r, mesh.Errorf(mesh.Invalid, "arguments belong to a script; those of a command are part of it")
	}
	r, err := r.chosen()
	if err != nil {
		return r, err
	}
	if err := r.checkScript(); err != nil {
		return r, err
	}
	if err := r.checkText(); err != nil {
		return r, err
	}
	for _, d := range []struct {
		name           string
		value          *time.Duration
		standard, most time.Duration
		least          time.Duration
	}{
		{"timeout", &r.Timeout, l.Timeout, MaxTimeout, time.Second},
		{"grace", &r.Grace, DefaultGrace, MaxGrace, time.Second},
		{"expiry", &r.ExpiresIn, l.Expiry, MaxExpiry, MinExpiry},
	} {
		if *d.value == 0 {
			*d.value = d.standard
		}
		if *d.value < d.least || *d.value > d.most || *d.value%time.Second != 0 {
			return r, mesh.Errorf(mesh.Invalid, "a %s of %s is not a whole number of seconds between %s and %s",
				d.name, *d.value, d.least, d.most)
		}
	}
	return r, nil
}

func (r Request) checkScript() error {
	switch s := r.Script; {
	case s == nil:
		return nil
	case len(s.Body) == 0:
		return mesh.Errorf(mesh.Invalid, "the script %q is empty", s.Name)
	case len(s.Body) > mesh.MaxScript:
		return mesh.Errorf(mesh.TooLarge, "the script %q has %d bytes, the limit is %d", s.Name, len(s.Body), mesh.MaxScript).
			WithHint("send a short script that fetches the rest from where your files live")
	case s.Name == "" || s.Name != filepath.Base(s.Name) || s.Name == ".." || s.Name == "." || len(s.Name) > 128:
		return mesh.Errorf(mesh.Invalid, "the script's name %q is not a plain file name", s.Name)
	}
	return nil
}

// checkText refuses what execve cannot pass on: a NUL ends a string.
func (r Request) checkText() error {
	words := append(append([]string{r.RunAs}, r.Command...), r.Args...)
	if r.Script != nil {
		words = append(words, r.Script.Name)
	}
	for k, v := range r.Env {
		if k == "" || strings.Contains(k, "=") {
			return mesh.Errorf(mesh.Invalid, "environment variable name %q is not valid", k)
		}
		words = append(words, k, v)
	}
	for _, w := range words {
		if strings.ContainsRune(w, 0) {
			return mesh.Errorf(mesh.Invalid, "%q contains a NUL byte, which no command line can hold", w)
		}
	}
	return nil
}

// share reads "3" or "25%" of n nodes, rounding a percentage up to at least
// one node unless it is 0%.
func share(what, s string, n int) (int, error) {
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.Atoi(digits)
	if err != nil || v < 0 || (percent && v > 100) {
		return 0, mesh.Errorf(mesh.Invalid, "--%s %q is neither a number nor a percentage", what, s)
	}
	if percent {
		v = (v*n + 99) / 100
	}
	return v, nil
}

// plan says in which waves n nodes run. Without a canary and a batch there is
// one wave.
func (r Request) plan(n int) (Plan, error) {
	p := Plan{Canary: min(r.Canary, n), Batch: n, Confirm: r.Confirm, MaxFail: -1}
	if r.Canary < 0 {
		return p, mesh.Errorf(mesh.Invalid, "--canary %d is negative", r.Canary)
	}
	if r.Confirm && r.Canary == 0 {
		return p, mesh.Errorf(mesh.Invalid, "--confirm waits after the canary, and there is none").WithHint("add --canary N")
	}
	var err error
	if r.Batch != "" {
		if p.Batch, err = share("batch", r.Batch, n); err != nil {
			return p, err
		}
		if p.Batch == 0 {
			return p, mesh.Errorf(mesh.Invalid, "--batch %s of %d nodes is none at all", r.Batch, n)
		}
	}
	if p.Canary > 0 || p.Batch < n {
		p.MaxFail = 0
	}
	if r.MaxFail != "" {
		if p.MaxFail, err = share("max-fail", r.MaxFail, n); err != nil {
			return p, err
		}
	}
	if w := p.Waves(n); w > MaxWaves {
		return p, mesh.Errorf(mesh.Invalid, "%d nodes in batches of %d are %d waves, the limit is %d", n, p.Batch, w, MaxWaves).
			WithHint("choose a larger --batch")
	}
	return p, nil
}

// window is over how many milliseconds n nodes spread their starts: none is
// noticed for a few nodes, and ten thousand do not knock in one second.
func window(n int) int { return min(n/2, 10_000) }

func seconds(d time.Duration) int { return int(d / time.Second) }

// spec returns what is signed, except for the targets.
func (r Request) spec(cluster, author string, now time.Time) mesh.Spec {
	s := mesh.Spec{
		Version: mesh.SpecVersion, Cluster: cluster, Job: cmp.Or(r.ID, mesh.NewJobID()), Attempt: 1, Author: author,
		Command: r.Command, Args: r.Args, Env: r.Env, RunAs: r.RunAs,
		Timeout: seconds(r.Timeout), Grace: seconds(r.Grace), Idempotent: r.Idempotent,
		NotBefore: now.Unix(), Expires: now.Add(r.ExpiresIn).Unix(),
	}
	if r.Script != nil {
		s.Script = &mesh.Script{Name: r.Script.Name, SHA256: mesh.Digest(r.Script.Body), Size: len(r.Script.Body)}
		if len(r.Script.Body) <= mesh.MaxInlineScript {
			s.Script.Body = r.Script.Body
		}
	}
	return s
}

// parseTarget reads a target expression.
func parseTarget(s string) (*query.Expr, error) {
	expr, err := query.Parse(s)
	if err != nil {
		return nil, mesh.Errorf(mesh.Invalid, "read the target expression: %w", err)
	}
	return expr, nil
}

// word is for sentences that count.
func word(n int, singular, plural string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, singular)
	}
	return fmt.Sprintf("%d %s", n, plural)
}
