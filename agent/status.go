package agent

import (
	"strconv"
	"time"

	"alps/agent/dns"
	"alps/agent/exec"
	"alps/agent/link"
	"alps/mesh"
)

// Status is how an agent is doing.
type Status struct {
	Version string        `json:"version"`
	Cluster string        `json:"cluster"`
	Node    mesh.NodeID   `json:"node"`
	Name    mesh.NodeName `json:"name"`
	DC      string        `json:"dc"`
	PID     int           `json:"pid"`
	Started time.Time     `json:"started"`
	Link    link.Status   `json:"link"` // without Spool.Disk, which is no JSON.
	// SpoolDisk is why the spool does not use its disk, empty when it does.
	SpoolDisk string      `json:"spool_disk,omitempty"`
	Exec      exec.Status `json:"exec"`
	Checks    Checks      `json:"checks"`
	Names     *dns.Status `json:"names,omitempty"` // nil: it answers none.
}

// Checks is how the checks of the node are, in numbers.
type Checks struct {
	Passing  int `json:"passing"`
	Warning  int `json:"warning"`
	Critical int `json:"critical"`
	Unknown  int `json:"unknown"`
	// Catalog is why Consul does not know the present state, empty when it
	// does.
	Catalog string `json:"catalog,omitempty"`
}

// Count makes Checks of results; catalog is why Consul does not know them.
func Count(results []mesh.CheckResult, catalog error) Checks {
	var c Checks
	for i := range results {
		switch results[i].Status {
		case mesh.HealthPassing:
			c.Passing++
		case mesh.HealthWarning:
			c.Warning++
		case mesh.HealthCritical:
			c.Critical++
		case mesh.HealthUnknown:
			c.Unknown++
		}
	}
	if catalog != nil {
		c.Catalog = catalog.Error()
	}
	return c
}

// Grade is how bad a Finding is.
type Grade string

// The grades. Bad means that something that an agent is there for does not
// work; Warn that it will not, or not always.
const (
	Good Grade = "ok"
	Warn Grade = "warn"
	Bad  Grade = "bad"
)

// Finding is one thing that a doctor looked at.
type Finding struct {
	Topic string `json:"topic"` // one word: config, consul, link, …
	Grade Grade  `json:"grade"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
}

// certWarn is how long before its end a certificate should have been renewed.
const certWarn = 5 * 24 * time.Hour

// skewWarn is how wrong a clock that is kept in step never is.
const skewWarn = mesh.MaxSkew / 4

// Diagnose judges what a running agent says at a point in time. It looks at
// nothing else.
func Diagnose(s Status, now time.Time) []Finding {
	findings := []Finding{
		{Topic: "agent", Grade: Good, Text: "runs as pid " + strconv.Itoa(s.PID) + " since " + s.Started.Local().Format(time.DateTime) + ", node " + string(s.Node)},
		diagnoseLink(s.Link, now),
		diagnoseClock(s.Link),
		diagnoseCertificate(s.Link, now),
		diagnoseSpool(s),
		diagnoseExec(s.Exec),
		diagnoseLook(s.Exec, now),
		diagnoseChecks(s.Checks),
	}
	if s.Names != nil {
		findings = append(findings, diagnoseNames(s.Names))
	}
	return findings
}

func diagnoseChecks(c Checks) Finding {
	f := Finding{Topic: "checks", Grade: Good, Text: strconv.Itoa(c.Passing+c.Warning+c.Critical+c.Unknown) + " run"}
	for _, part := range []struct {
		n    int
		name string
	}{{c.Passing, "passing"}, {c.Warning, "warning"}, {c.Critical, "critical"}, {c.Unknown, "unknown"}} {
		if part.n > 0 {
			f.Text += ", " + strconv.Itoa(part.n) + " " + part.name
		}
	}
	if c.Catalog != "" {
		f.Grade, f.Text = Bad, f.Text+"; Consul does not know: "+c.Catalog
		f.Hint = "the agent's Consul token must write its services: deploy/consul/agent-policy.hcl"
	}
	return f
}

func diagnoseNames(n *dns.Status) Finding {
	f := Finding{Topic: "dns", Grade: Good, Text: "answers names at " + n.Listen + ": " + strconv.Itoa(n.Nodes) + " nodes, " + strconv.Itoa(n.Services) + " services"}
	switch {
	case n.Source == dns.SourceNone:
		f.Grade, f.Text = Warn, "answers names at "+n.Listen+" by asking Consul: no server has sent any yet"
	case n.Stale:
		f.Grade, f.Text = Warn, f.Text+", as they were "+strconv.FormatInt(n.Age, 10)+" s ago: no server keeps them up to date"
	}
	return f
}

func diagnoseLink(l link.Status, now time.Time) Finding {
	f := Finding{Topic: "link"}
	since := now.Sub(l.Since).Round(time.Second).String()
	switch {
	case l.Connected:
		f.Grade, f.Text = Good, "linked to "+l.Server+" at "+l.Addr+" for "+since
	case l.LastError != nil:
		f.Grade, f.Text, f.Hint = Bad, "no link for "+since+": "+l.LastError.Message, l.LastError.Hint
	default:
		f.Grade, f.Text = Warn, "no link yet, trying for "+since
	}
	return f
}

func diagnoseClock(l link.Status) Finding {
	f := Finding{Topic: "clock", Grade: Good, Text: "within " + l.Skew.Abs().Round(time.Millisecond).String() + " of the server's"}
	switch {
	case l.Skew.Abs() > skewWarn:
		f.Grade = Warn
		if l.Skew.Abs() > mesh.MaxSkew {
			f.Grade = Bad
		}
		f.Text = "wrong by " + l.Skew.Abs().Round(time.Second).String() + "; jobs are refused beyond " + mesh.MaxSkew.String()
		f.Hint = "set the clock: chronyc makestep, or timedatectl set-ntp true"
	case l.Server == "":
		f.Grade, f.Text = Warn, "not compared yet: there was no link"
	}
	return f
}

func diagnoseCertificate(l link.Status, now time.Time) Finding {
	left := l.CertNotAfter.Sub(now)
	f := Finding{Topic: "cert", Grade: Good, Text: "good until " + l.CertNotAfter.Local().Format(time.DateTime)}
	switch {
	case left <= 0:
		f.Grade, f.Text = Bad, "ended "+l.CertNotAfter.Local().Format(time.DateTime)
		f.Hint = "enrol again: remove the identity directory, give the agent a join token, restart it"
	case left < certWarn && l.RenewError != nil:
		f.Grade, f.Text, f.Hint = Warn, f.Text+", not renewed: "+l.RenewError.Message, l.RenewError.Hint
	}
	return f
}

func diagnoseSpool(s Status) Finding {
	f := Finding{Topic: "spool", Grade: Good, Text: strconv.Itoa(s.Link.Spool.Waiting) + " messages wait for a server"}
	switch {
	case s.SpoolDisk != "":
		f.Grade, f.Text = Bad, f.Text+", in memory only: "+s.SpoolDisk
		f.Hint = "make room in the data directory"
	case s.Link.Spool.Dropped > 0:
		f.Grade, f.Text = Warn, f.Text+"; "+strconv.FormatUint(s.Link.Spool.Dropped, 10)+" were lost for want of room"
	case s.Link.Refused > 0 && s.Link.LastRefusal != nil:
		f.Grade, f.Text, f.Hint = Warn, f.Text+"; servers refused "+strconv.Itoa(s.Link.Refused)+": "+s.Link.LastRefusal.Message, s.Link.LastRefusal.Hint
	}
	return f
}

func diagnoseExec(e exec.Status) Finding {
	f := Finding{Topic: "exec"}
	switch {
	case !e.Enabled:
		f.Grade, f.Text, f.Hint = Warn, "turned off by the config: every job is refused", `exec { enabled = "auto" }`
	case e.TrustRoot == "":
		f.Grade, f.Text = Bad, "no trust root is installed: every job is refused"
		f.Hint = "put the cluster's root.pub at exec.trust_root; it comes by itself with enrolment when the server has keys.root"
	default:
		f.Grade, f.Text = Good, "trusts the root "+string(e.TrustRoot)+"; "+strconv.Itoa(e.Running)+" jobs run, "+strconv.Itoa(e.Waiting)+" wait"
	}
	return f
}

func diagnoseLook(e exec.Status, now time.Time) Finding {
	const late = 3 * time.Minute // three polls.
	f := Finding{Topic: "jobs", Grade: Good}
	switch {
	case e.LookedAt.IsZero():
		f.Grade, f.Text = Bad, "never read from Consul"
	case now.Sub(e.LookedAt) > late:
		f.Grade, f.Text = Bad, "not read from Consul for "+now.Sub(e.LookedAt).Round(time.Second).String()
	default:
		f.Text = "looked for " + now.Sub(e.LookedAt).Round(time.Second).String() + " ago, by " + string(e.LookedBy)
	}
	if f.Grade == Bad && e.LastError != "" {
		f.Text += ": " + e.LastError
		f.Hint = "look at the local Consul agent: consul members, and at its token: it must read alps/ and the event alps"
	}
	return f
}
