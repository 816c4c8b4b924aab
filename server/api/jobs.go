package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"alps/mesh"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

const (
	jobsPage    = 50
	targetsPage = 1000
)

type submitIn struct{ Body v1.JobRequest }

// submissionOut is the answer to everything that must be signed.
type submissionOut struct {
	Status int
	Body   v1.Submission
}

func (s *Server) submitJob(ctx context.Context, in *submitIn) (*submissionOut, error) {
	sub, err := s.Jobs.Submit(ctx, handOver(ctx), in.Body)
	return submission(sub, http.StatusCreated, err)
}

// handOver returns the actor and leaves the audit to the service that is
// called with it.
func handOver(ctx context.Context) auth.Actor {
	c := callFrom(ctx)
	c.handed = true
	return c.actor
}

// submission answers 202 while a signature is missing, and done otherwise; a
// repeated submission has created nothing.
func submission(sub v1.Submission, done int, err error) (*submissionOut, error) {
	switch {
	case err != nil:
		return nil, err
	case sub.Draft != nil:
		done = http.StatusAccepted
	case sub.Repeated:
		done = http.StatusOK
	}
	return &submissionOut{done, sub}, nil
}

type jobIn struct {
	ID string `path:"id" pattern:"^[0-9a-f]{4,16}$" patternDescription:"a job's id or its beginning, at least 4 hexadecimal digits" doc:"a job's id, or its unique beginning of at least 4 digits"`
}

type jobOut struct{ Body v1.Job }

// job returns the complete id for what a path says.
func (s *Server) job(ctx context.Context, typed string) (mesh.JobID, error) {
	if id, err := mesh.ParseJobID(typed); err == nil {
		about(ctx, typed, nil)
		return id, nil
	}
	found, err := s.Jobs.Jobs(ctx, callFrom(ctx).actor, v1.JobFilter{Prefix: typed, Limit: 3})
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", mesh.Errorf(mesh.NotFound, "there is no job %s", typed).WithHint("`alps job list` shows the jobs")
	case 1:
		about(ctx, string(found[0].ID), nil)
		return found[0].ID, nil
	}
	var ids []string
	for _, j := range found {
		ids = append(ids, string(j.ID))
	}
	return "", mesh.Errorf(mesh.Conflict, "several jobs begin with %s", typed).
		WithHint("type more of the id, as in %s", strings.Join(ids, " or "))
}

func (s *Server) getJob(ctx context.Context, in *jobIn) (*jobOut, error) {
	id, err := s.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	j, err := s.Jobs.Job(ctx, callFrom(ctx).actor, id)
	if err != nil {
		return nil, err
	}
	return &jobOut{j}, nil
}

type jobsIn struct {
	Open   bool   `query:"open" doc:"only jobs that have not ended"`
	State  string `query:"state" doc:"only jobs with a target in this state" enum:"PENDING,ACKED,QUEUED,RUNNING,OK,FAILED,SIGNALED,TIMEOUT,CANCELLED,REJECTED,EXPIRED,SKIPPED,UNKNOWN"`
	Author string `query:"author" doc:"only jobs of this token name"`
	Prefix string `query:"prefix" doc:"only jobs whose id begins like this"`
	Node   string `query:"node" maxLength:"256" doc:"only jobs for this node, by name or id"`
	Before string `query:"before" doc:"only jobs that come after this one in the list"`
	Limit  int    `query:"limit" minimum:"0" maximum:"1000" doc:"0 means 50"`
}

type jobsOut struct{ Body v1.JobList }

func (s *Server) listJobs(ctx context.Context, in *jobsIn) (*jobsOut, error) {
	limit := orDefault(in.Limit, jobsPage)
	var node mesh.NodeID
	if in.Node != "" {
		n, err := s.node(ctx, in.Node)
		if err != nil {
			return nil, err
		}
		if n.ID == "" { // without an agent it was never the target of a job.
			return &jobsOut{v1.JobList{Jobs: []v1.Job{}}}, nil
		}
		node = n.ID
	}
	jobs, err := s.Jobs.Jobs(ctx, callFrom(ctx).actor, v1.JobFilter{
		Open: in.Open, State: mesh.State(in.State), Author: in.Author, Node: node,
		Prefix: in.Prefix, Before: mesh.JobID(in.Before), Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	var out v1.JobList
	if len(jobs) > limit {
		jobs = jobs[:limit]
		out.Next = jobs[limit-1].ID
	}
	out.Jobs = full(jobs)
	return &jobsOut{out}, nil
}

type targetsIn struct {
	ID    string `path:"id" pattern:"^[0-9a-f]{4,16}$" patternDescription:"a job's id or its beginning, at least 4 hexadecimal digits" doc:"a job's id, or its unique beginning of at least 4 digits"`
	State string `query:"state" doc:"only targets in this state" enum:"PENDING,ACKED,QUEUED,RUNNING,OK,FAILED,SIGNALED,TIMEOUT,CANCELLED,REJECTED,EXPIRED,SKIPPED,UNKNOWN"`
	Group string `query:"group" doc:"only targets of the group with this id"`
	From  int    `query:"from" minimum:"0" doc:"only targets with this index or a later one"`
	Limit int    `query:"limit" minimum:"0" maximum:"100000" doc:"0 means 1000"`
}

type targetsOut struct{ Body v1.TargetList }

func (s *Server) listTargets(ctx context.Context, in *targetsIn) (*targetsOut, error) {
	id, err := s.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	list, err := s.Jobs.Targets(ctx, callFrom(ctx).actor, id, v1.TargetFilter{
		State: mesh.State(in.State), Group: in.Group, From: in.From, Limit: orDefault(in.Limit, targetsPage),
	})
	if err != nil {
		return nil, err
	}
	list.Targets = full(list.Targets)
	return &targetsOut{list}, nil
}

type outputIn struct {
	ID     string `path:"id" pattern:"^[0-9a-f]{4,16}$" patternDescription:"a job's id or its beginning, at least 4 hexadecimal digits" doc:"a job's id, or its unique beginning of at least 4 digits"`
	Digest string `path:"digest" pattern:"^[0-9a-f]{64}$" patternDescription:"a SHA-256" doc:"as a target's stdout or stderr names it"`
}

type outputOut struct {
	ContentType        string `header:"Content-Type"`
	ContentDisposition string `header:"Content-Disposition"`
	Body               []byte
}

// signedOperation describes the second way in which it succeeds to ask for
// what must be signed.
func signedOperation(op *huma.Operation, schemas huma.Registry) {
	op.Responses["202"] = &huma.Response{
		Description: "A draft that must be signed",
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: schemas.Schema(reflect.TypeFor[v1.Submission](), true, "")},
		},
	}
}

// outputOperation describes what getOutput answers with, which is no JSON.
func outputOperation(op *huma.Operation, _ huma.Registry) {
	op.Responses["200"] = &huma.Response{
		Description: "The kept bytes: all, or the head and the tail when the target says truncated",
		Content:     map[string]*huma.MediaType{"application/octet-stream": {}},
	}
}

// getOutput answers with bytes that a program wrote: a browser must take them
// for a file and nothing else.
func (s *Server) getOutput(ctx context.Context, in *outputIn) (*outputOut, error) {
	id, err := s.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	body, err := s.Jobs.Output(ctx, callFrom(ctx).actor, id, in.Digest)
	if err != nil {
		return nil, err
	}
	return &outputOut{
		ContentType:        "application/octet-stream",
		ContentDisposition: fmt.Sprintf(`attachment; filename="%s-%s.txt"`, id, in.Digest[:8]),
		Body:               body,
	}, nil
}

type signIn struct {
	ID   string `path:"id" pattern:"^[0-9a-f]{16}$" patternDescription:"a job's whole id" doc:"the draft's job id"`
	Body v1.Signature
}

func (s *Server) signJob(ctx context.Context, in *signIn) (*submissionOut, error) {
	sub, err := s.Jobs.Sign(ctx, handOver(ctx), mesh.JobID(in.ID), in.Body.Envelope)
	return submission(sub, http.StatusOK, err)
}

// steer returns the handler for one way to steer.
func (s *Server) steer(what v1.Steer) func(context.Context, *jobIn) (*submissionOut, error) {
	return func(ctx context.Context, in *jobIn) (*submissionOut, error) {
		id, err := s.job(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		sub, err := s.Jobs.Steer(ctx, handOver(ctx), id, what)
		return submission(sub, http.StatusOK, err)
	}
}
