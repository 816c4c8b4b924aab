// Package checks is the contract of the checks that come with ALPS, and the
// rails on which they run. A probe is Go code that looks at one thing on the
// node; a pack is probes that belong together, with the checks that use them.
//
//	pack.hcl ──► Pack{Probes, Checks} ──► Set ──► Result
//	 thresholds   host.New, consul.New    Run("host.disk", settings)
//
// A new probe is a type with one method, in a package below this one:
//
//	func (p *load) Run(ctx context.Context, s *checks.Settings) checks.Result {
//		warn := s.Number("warn")
//		if err := s.Err(); err != nil {
//			return checks.Unknown("%v", err)
//		}
//		…
//		return checks.Result{Status: mesh.HealthPassing, Output: "the load is low"}
//	}
//
// with a check in the pack's pack.hcl that names it. The settings of that check
// are the probe's defaults, and there are no others: who configures the probe
// elsewhere says only what differs. Package checktest has the suite that every
// probe passes; a pack's README says what each threshold means.
//
// A pack may have judges too: they answer the questions of remediation plans
// (is it true? is it safe? has it helped?) with a mesh.Answer, from the facts
// that earlier steps have found. `alps probe NAME` runs either.
//
// Output is stable text: it is the same as long as the state is, because Consul
// writes an entry for every change. Numbers that move are Samples. A probe that
// finds a disk broken names it in Disks, as mesh.CheckResult says: what several
// checks find of one disk is one incident.
//
// The package imports mesh and mesh/config. Nothing in it or below it imports
// agent or server: the agent is given a Set, and knows no pack.
package checks
