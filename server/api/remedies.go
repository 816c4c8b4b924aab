package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

const (
	runsPage = 100
	// SimulateTimeout is how long nodes may take to answer a simulation:
	// four steps that each take half a minute. answerTimeout is for sending it.
	SimulateTimeout = 2 * time.Minute
	answerTimeout   = 10 * time.Second
)

type policiesOut struct{ Body v1.PolicyList }

func (s *Server) listPolicies(ctx context.Context, _ *struct{}) (*policiesOut, error) {
	list, err := s.Remedies.Policies(ctx)
	if err != nil {
		return nil, err
	}
	see, err := s.sees(ctx, nil)
	if err != nil {
		return nil, err
	}
	list.Policies = slices.Clone(full(list.Policies))
	for i := range list.Policies {
		if last := list.Policies[i].Last; last != nil && !see(last.DC, last.Node) {
			list.Policies[i].Last = nil
		}
	}
	return &policiesOut{list}, nil
}

type runsIn struct {
	Policy   string `query:"policy" maxLength:"256"`
	Incident string `query:"incident" maxLength:"64"`
	Limit    int    `query:"limit" minimum:"0" maximum:"1000" doc:"0 means 100"`
}

type runsOut struct{ Body v1.RemedyRunList }

func (s *Server) listRuns(ctx context.Context, in *runsIn) (*runsOut, error) {
	see, err := s.sees(ctx, nil)
	if err != nil {
		return nil, err
	}
	limit := orDefault(in.Limit, runsPage)
	f := v1.RemedyRunFilter{Policy: in.Policy, Incident: mesh.IncidentID(in.Incident), Limit: limit}
	for {
		runs, err := s.Remedies.Runs(ctx, f)
		if err != nil {
			return nil, err
		}
		read := len(runs)
		runs = slices.DeleteFunc(runs, func(r mesh.RemedyRun) bool { return !see(r.DC, r.Node) })
		if len(runs) >= limit || read < f.Limit {
			return &runsOut{v1.RemedyRunList{Runs: full(runs[:min(len(runs), limit)])}}, nil
		}
		// A scope hides some: older ones take their places.
		f.Limit *= 4
	}
}

type runIn struct {
	ID string `path:"id" pattern:"^[0-9a-f]{16}$" patternDescription:"16 hexadecimal digits"`
}

type runOut struct{ Body mesh.RemedyRun }

func (s *Server) getRun(ctx context.Context, in *runIn) (*runOut, error) {
	r, err := s.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &runOut{r}, nil
}

// run finds a run that the caller may see, in the words of one that does not
// exist where they may not.
func (s *Server) run(ctx context.Context, id string) (mesh.RemedyRun, error) {
	see, err := s.sees(ctx, nil)
	if err != nil {
		return mesh.RemedyRun{}, err
	}
	r, err := s.Remedies.Run(ctx, mesh.RemedyRunID(id))
	if err != nil && mesh.CodeOf(err) != mesh.NotFound {
		return mesh.RemedyRun{}, err
	}
	if err != nil || !see(r.DC, r.Node) {
		return mesh.RemedyRun{}, mesh.Errorf(mesh.NotFound, "there is no run %s", id).WithHint("`alps remedy runs` shows them")
	}
	return r, nil
}

type answerIn struct {
	ID   string `path:"id" pattern:"^[0-9a-f]{16}$" patternDescription:"16 hexadecimal digits"`
	Body v1.ApprovalRequest
}

// approve lets nobody have something done where they could not do it themselves.
func (s *Server) approve(ctx context.Context, actor string, id mesh.RemedyRunID, reason string) error {
	r, err := s.run(ctx, string(id))
	if err != nil {
		return err
	}
	see, err := s.sees(ctx, nil)
	if err != nil {
		return err
	}
	nodes, err := s.Remedies.Reach(ctx, id)
	if err != nil {
		return err
	}
	nodes = slices.DeleteFunc(nodes, func(n mesh.NodeName) bool { return see(r.DC, n) })
	if len(nodes) > 0 {
		return mesh.Errorf(mesh.Denied, "approve run %s: it acts on nodes outside of the token's scope too (%d)", id, len(nodes)).
			WithHint("ask somebody whose token is for these nodes as well")
	}
	return s.Remedies.Approve(ctx, actor, id, reason)
}

// answer makes the handler of a person's yes or no to a run that was proposed.
func (s *Server) answer(give func(ctx context.Context, actor string, id mesh.RemedyRunID, reason string) error) func(context.Context, *answerIn) (*runOut, error) {
	return func(ctx context.Context, in *answerIn) (*runOut, error) {
		r, err := s.run(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		about(ctx, in.ID, map[string]string{"policy": r.Policy, "node": string(r.Node), "incident": string(r.Incident), "reason": in.Body.Reason})
		if err := give(ctx, callFrom(ctx).actor.Name, r.ID, in.Body.Reason); err != nil {
			return nil, err
		}
		if r, err = s.run(ctx, in.ID); err != nil {
			return nil, err
		}
		return &runOut{r}, nil
	}
}

type simulateIn struct {
	Name string `path:"name" maxLength:"256"`
	Body v1.SimulationRequest
}

type simulateOut struct{ Body v1.Simulation }

// simulate asks nodes, so it may take as long as their scripts.
func (s *Server) simulate(ctx context.Context, in *simulateIn) (*simulateOut, error) {
	about(ctx, in.Name, map[string]string{"incident": in.Body.Incident})
	i, err := s.incident(ctx, in.Body.Incident)
	if err != nil {
		return nil, err
	}
	about(ctx, in.Name, map[string]string{"incident": string(i.ID), "node": string(i.Node)})
	if err := callFrom(ctx).extend(SimulateTimeout + answerTimeout); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, SimulateTimeout)
	defer cancel()
	out, err := s.Remedies.Simulate(ctx, callFrom(ctx).actor.Name, in.Name, i.ID)
	if errors.Is(err, context.DeadlineExceeded) {
		err = mesh.Errorf(mesh.Unavailable, "the nodes have not answered within %s: %w", SimulateTimeout, err).
			WithHint("`alps job list` shows what is asked of them")
	}
	if err != nil {
		return nil, err
	}
	out.Verdicts = full(out.Verdicts)
	return &simulateOut{out}, nil
}

type pauseIn struct {
	Policy string `query:"policy" maxLength:"256" doc:"this policy alone"`
	Group  string `query:"group" maxLength:"256" doc:"the policies of this group; without it, and without a policy: all"`
	Body   v1.PauseRequest
}

// pauseRemedy and resumeRemedy throw the same switch.
func (s *Server) pauseRemedy(ctx context.Context, in *pauseIn) (*struct{}, error) {
	return nil, throw(ctx, in, s.Remedies.Pause)
}

func (s *Server) resumeRemedy(ctx context.Context, in *pauseIn) (*struct{}, error) {
	return nil, throw(ctx, in, s.Remedies.Resume)
}

func throw(ctx context.Context, in *pauseIn, do func(ctx context.Context, actor string, scope mesh.RemedyScope, reason string) error) error {
	scope := mesh.RemedyScope{Policy: in.Policy, Group: in.Group}
	about(ctx, scope.String(), map[string]string{"reason": in.Body.Reason})
	return do(ctx, callFrom(ctx).actor.Name, scope, in.Body.Reason)
}
