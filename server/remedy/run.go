package remedy

import (
	"fmt"
	"time"

	"alps/mesh"
)

// How long the steps of a run may take.
const (
	// submitWithin bounds how long a decision is worth anything. The node may
	// take as long again to start the job.
	submitWithin = 30 * time.Second
	startWithin  = time.Minute
	// endWithin is how long after a job's time is over its end is waited for:
	// the grace between TERM and KILL, and the way of the last report.
	endWithin = time.Minute
	// The times of a policy that was taken away while it was acting.
	orphanTimeout = 30 * time.Second
	orphanVerify  = 30 * time.Second
)

// A Record is a run with what the engine must remember of it.
type Record struct {
	mesh.RemedyRun
	// JobEnded is when the server learned that the job has ended. Only a result
	// that was received later proves anything.
	JobEnded time.Time
	// Reopened is how often the incident had been reopened when it was decided:
	// what was said before that is said again.
	Reopened int
	// Told: what is to be told of its State was told.
	Told bool
	// Plan is that of the policy as it was when the run was decided: what was
	// begun is ended by the same plan. It is nil in the small form.
	Plan []mesh.Rung
}

// submitted is r when its job exists.
func (r Record) submitted(now time.Time, timeout time.Duration) Record {
	r.State, r.Started, r.Told = mesh.RemedyRunning, now, false
	r.Deadline = now.Add(startWithin + timeout + endWithin)
	return r
}

// refused is r when v has stopped it before its job was made.
func (r Record) refused(v Verdict, now time.Time) Record {
	r.State, r.Guard, r.Reason = mesh.RemedyRefused, string(v.Guard), v.Reason
	r.Ended, r.Deadline, r.Told = now, time.Time{}, false
	return r
}

// failed is r when it did not help.
func (r Record) failed(now time.Time, format string, args ...any) Record {
	r.State, r.Reason = mesh.RemedyFailed, fmt.Sprintf(format, args...)
	r.Ended, r.Deadline, r.Told = now, time.Time{}, false
	return r
}

// followed is a running r when its job is in that state; found is false when no
// job of that id exists. verify is how long the check may take then.
func (r Record) followed(job mesh.JobState, found bool, now time.Time, verify time.Duration) Record {
	switch {
	case !found:
		return r.failed(now, "the job %s is gone", r.ID)
	case !job.State.Ended() && now.After(r.Deadline):
		r.Job = job
		return r.failed(now, "the job has not ended by %s, it is %s", clock(r.Deadline), job.State)
	case !job.State.Ended():
		r.Job = job
		return r
	}
	r.Job = job
	switch job.State {
	case mesh.Expired, mesh.Rejected, mesh.Skipped:
		return r.failed(now, "the script was not run: the job is %s%s", job.State, because(job.Reason))
	case mesh.Cancelled, mesh.Unknown:
		return r.failed(now, "nobody can say what the script did: the job is %s%s", job.State, because(job.Reason))
	default: // it ran to its end; what came of it, the check says.
	}
	r.State, r.JobEnded, r.Told = mesh.RemedyVerifying, now, false
	r.Deadline = now.Add(verify)
	return r
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// verified is a verifying r when check is what is known of its check, nil when
// nothing is.
func (r Record) verified(check *mesh.CheckState, now time.Time) Record {
	if check != nil {
		r.After = *check
	}
	if proves(check, r.JobEnded) {
		r.State, r.Ended, r.Deadline, r.Told = mesh.RemedySucceeded, now, time.Time{}, false
		if r.Job.State != mesh.OK {
			r.Reason = "the check passes, although the script ended with " + outcome(r.Job)
		}
		return r
	}
	if now.Before(r.Deadline) {
		return r
	}
	how := "nothing is known of the check"
	switch {
	case check == nil:
	case !check.Received.After(r.JobEnded):
		how = "no result of the check came after the job ended"
	default:
		how = "the check is " + string(check.Status)
	}
	return r.failed(now, "%s, %s after the job ended with %s", how, now.Sub(r.JobEnded).Round(time.Second), outcome(r.Job))
}

// proves reports whether a check says that it is well, by a result that the
// node itself gave after that moment. A result that was passing before says
// nothing: the script may have broken it again.
func proves(s *mesh.CheckState, after time.Time) bool {
	return s != nil && s.Source == mesh.SourceLink && !s.AgentLost &&
		s.Status == mesh.HealthPassing && s.Result.Status == mesh.HealthPassing && s.Received.After(after)
}

// outcome says how a job ended.
func outcome(j mesh.JobState) string {
	if j.State == mesh.Failed {
		return fmt.Sprintf("exit code %d", j.Code)
	}
	return string(j.State)
}
