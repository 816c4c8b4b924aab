package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"alps/mesh"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// anyone is the role of a route that needs no token. It is spelled out, so
// that a row without a role is a mistake and not a hole.
const anyone auth.Role = "anyone"

// reach says what a token's scope means for a route.
type reach int

const (
	// noNodes: what is answered concerns no node.
	noNodes reach = iota + 1
	// inScope: only nodes of the scope are shown and reached.
	inScope
	// everyNode: the token's scope must be all nodes.
	everyNode
)

// route is one row: what is answered, and to whom.
type route struct {
	method string
	path   string
	id     string // the operation's name in the OpenAPI document.
	needs  auth.Role
	reach  reach
	// action is what a write is audited as; empty for a read.
	action  string
	status  int // of a success, when it is not 200 (204 without a body).
	summary string
}

func (r *route) pattern() string { return r.method + " " + r.path }

// validate finds a row that was not filled in.
func (r *route) validate() error {
	switch {
	case r.needs != anyone && !r.needs.Covers(auth.Viewer):
		return fmt.Errorf("api: route %s names no role", r.pattern())
	case r.reach == 0:
		return fmt.Errorf("api: route %s does not say what it means to a scope", r.pattern())
	case (r.method != http.MethodGet) != (r.action != ""):
		return fmt.Errorf("api: route %s must have an action if and only if it writes", r.pattern())
	}
	return nil
}

// allows says whether who may use the route.
func (r *route) allows(who auth.Actor) error {
	switch {
	case r.needs == anyone:
		return nil
	case who.TokenID == "":
		return mesh.Errorf(mesh.Unauthorized, "%s needs a token", r.id).
			WithHint("set ALPS_TOKEN; the first token lies in %s in the server's data directory", auth.AdminFile)
	case !who.Role.Covers(r.needs):
		return mesh.Errorf(mesh.Denied, "%s needs the role %s; the token %s (%s) is a %s", r.id, r.needs, who.TokenID, who.Name, who.Role)
	case r.reach == everyNode && !who.Unlimited():
		return mesh.Errorf(mesh.Denied, "%s needs a token over all nodes; the token %s (%s) is limited to %s", r.id, who.TokenID, who.Name, who.Scope)
	}
	return nil
}

// register fills the mux. A row and its handler stand together; every row is
// a path, and every path is a row.
func (s *Server) register() error {
	s.mux = http.NewServeMux()
	s.rows = map[string]*route{}
	reg := &registrar{Server: s, api: humago.New(s.mux, framework())}

	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	const made = http.StatusCreated

	add(reg, route{get, "/v1/status", "get-status", anyone, noNodes, "", 0, "How the server is"}, s.getStatus)

	add(reg, route{get, "/v1/members", "list-members", auth.Viewer, inScope, "", 0, "Members of the Consul datacenters"}, s.listMembers)
	add(reg, route{get, "/v1/nodes", "list-nodes", auth.Viewer, inScope, "", 0, "Nodes that match a query"}, s.listNodes)
	add(reg, route{get, "/v1/nodes/{name}", "get-node", auth.Viewer, inScope, "", 0, "One node by name or id"}, s.getNode)
	add(reg, route{post, "/v1/nodes/{name}/revoke", "revoke-node", auth.Admin, inScope, "node.revoke", 0, "Shut a node out for good"}, s.revokeNode)
	add(reg, route{get, "/v1/nodes/{name}/checks", "list-node-checks", auth.Viewer, inScope, "", 0, "How the checks of a node are"}, s.nodeChecks)
	add(reg, route{get, "/v1/nodes/{name}/sessions", "list-node-sessions", auth.Viewer, inScope, "", 0, "Sessions of a node and the keys that they lock"}, s.nodeSessions)
	add(reg, route{get, "/v1/nodes/{name}/rtt", "get-node-rtt", auth.Viewer, inScope, "", 0, "Round-trip times from a node to the others"}, s.nodeTomography)
	add(reg, route{get, "/v1/nodes/{name}/config", "get-node-config", auth.Viewer, inScope, "", 0, "The effective configuration of a node"}, s.nodeSettings)

	add(reg, route{get, "/v1/datacenters", "list-datacenters", auth.Viewer, noNodes, "", 0, "Datacenters that the server knows"}, s.listDatacenters)
	add(reg, route{get, "/v1/services", "list-services", auth.Viewer, inScope, "", 0, "Services and how their instances are"}, s.listServices)
	add(reg, route{get, "/v1/services/{name}", "get-service", auth.Viewer, inScope, "", 0, "One service with its instances"}, s.getService)
	add(reg, route{get, "/v1/checks", "list-checks", auth.Viewer, inScope, "", 0, "How checks are"}, s.listChecks)
	add(reg, route{post, "/v1/checks/run", "run-check", auth.Operator, inScope, "check.run", 0, "Run a check now"}, s.runCheck)

	add(reg, route{get, "/v1/kv", "list-keys", auth.Viewer, everyNode, "", 0, "Keys right below a prefix"}, s.listKeys)
	add(reg, route{get, "/v1/kv/value", "get-key", auth.Operator, everyNode, "", 0, "One key with its value"}, s.getKey)
	add(reg, route{put, "/v1/kv/value", "put-key", auth.Operator, everyNode, "kv.put", 0, "Write a key that has not changed since it was read"}, s.putKey)
	add(reg, route{del, "/v1/kv/value", "delete-key", auth.Operator, everyNode, "kv.delete", 0, "Delete a key that has not changed since it was read"}, s.deleteKey)
	add(reg, route{get, "/v1/acl", "get-acl", auth.Admin, everyNode, "", 0, "Consul's tokens and policies, without their secrets"}, s.getACL)

	add(reg, route{get, "/v1/incidents", "list-incidents", auth.Viewer, inScope, "", 0, "Incidents, open ones first"}, s.listIncidents)
	add(reg, route{get, "/v1/incidents/{id}", "get-incident", auth.Viewer, inScope, "", 0, "One incident with its story"}, s.getIncident)
	add(reg, route{post, "/v1/incidents/{id}/ack", "ack-incident", auth.Operator, inScope, "incident.ack", 0, "Take an incident on"}, s.changeIncident(v1.IncidentAck))
	add(reg, route{post, "/v1/incidents/{id}/close", "close-incident", auth.Operator, inScope, "incident.close", 0, "Close an incident by hand"}, s.changeIncident(v1.IncidentClose))
	add(reg, route{post, "/v1/incidents/{id}/reopen", "reopen-incident", auth.Operator, inScope, "incident.reopen", 0, "Open an incident again"}, s.changeIncident(v1.IncidentReopen))
	add(reg, route{post, "/v1/incidents/{id}/comment", "comment-incident", auth.Operator, inScope, "incident.comment", 0, "Add a line to an incident's story"}, s.changeIncident(v1.IncidentComment))
	add(reg, route{get, "/v1/rules", "list-rules", auth.Viewer, noNodes, "", 0, "Rules and receivers in force"}, s.listRules)

	add(reg, route{get, "/v1/policies", "list-policies", auth.Viewer, inScope, "", 0, "Policies and how they stand"}, s.listPolicies)
	add(reg, route{get, "/v1/remedy-runs", "list-remedy-runs", auth.Viewer, inScope, "", 0, "What policies did and refused to do"}, s.listRuns)
	add(reg, route{get, "/v1/remedy-runs/{id}", "get-remedy-run", auth.Viewer, inScope, "", 0, "One run of a policy with its evidence"}, s.getRun)
	add(reg, route{post, "/v1/remedy-runs/{id}/approve", "approve-remedy-run", auth.Operator, inScope, "remedy.approve", 0, "Let a policy do what it has proposed"}, s.answer(s.approve))
	add(reg, route{post, "/v1/remedy-runs/{id}/reject", "reject-remedy-run", auth.Operator, inScope, "remedy.reject", 0, "Keep a policy from what it has proposed"}, s.answer(s.Remedies.Reject))
	add(reg, route{post, "/v1/policies/{name}/simulate", "simulate-policy", auth.Operator, inScope, "remedy.simulate", 0, "What a policy would do about an incident, without doing it"}, s.simulate)
	add(reg, route{post, "/v1/remedy/pause", "pause-remedy", auth.Operator, everyNode, "remedy.pause", 0, "Keep every policy from acting"}, s.pauseRemedy)
	add(reg, route{post, "/v1/remedy/resume", "resume-remedy", auth.Operator, everyNode, "remedy.resume", 0, "Let policies act again"}, s.resumeRemedy)

	add(reg, route{post, "/v1/jobs", "submit-job", auth.Operator, inScope, "job.submit", made, "Run something on nodes"}, s.submitJob, signedOperation)
	add(reg, route{get, "/v1/jobs", "list-jobs", auth.Viewer, inScope, "", 0, "Jobs, the newest first"}, s.listJobs)
	add(reg, route{get, "/v1/jobs/{id}", "get-job", auth.Viewer, inScope, "", 0, "One job with its targets grouped by how they fared"}, s.getJob)
	add(reg, route{get, "/v1/jobs/{id}/targets", "list-targets", auth.Viewer, inScope, "", 0, "Targets of a job, one by one"}, s.listTargets)
	add(reg, route{get, "/v1/jobs/{id}/output/{digest}", "get-output", auth.Viewer, inScope, "", 0, "What a job's processes wrote"}, s.getOutput, outputOperation)
	add(reg, route{post, "/v1/jobs/{id}/signature", "sign-job", auth.Operator, inScope, "job.sign", 0, "Complete a draft with an operator's signature"}, s.signJob)
	add(reg, route{post, "/v1/jobs/{id}/cancel", "cancel-job", auth.Operator, inScope, "job.cancel", 0, "Stop a job"}, s.steer(v1.Cancel), signedOperation)
	add(reg, route{post, "/v1/jobs/{id}/pause", "pause-job", auth.Operator, inScope, "job.pause", 0, "Start nothing more of a job for now"}, s.steer(v1.Pause), signedOperation)
	add(reg, route{post, "/v1/jobs/{id}/resume", "resume-job", auth.Operator, inScope, "job.resume", 0, "Go on with a paused job"}, s.steer(v1.Resume), signedOperation)
	add(reg, route{post, "/v1/jobs/{id}/open-wave", "open-wave", auth.Operator, inScope, "job.open_wave", 0, "Let the next wave of a job start"}, s.steer(v1.OpenWave), signedOperation)

	add(reg, route{get, "/v1/tokens", "list-tokens", auth.Admin, everyNode, "", 0, "API tokens"}, s.listTokens)
	add(reg, route{post, "/v1/tokens", "create-token", auth.Admin, everyNode, "token.create", made, "Make an API token"}, s.createToken)
	add(reg, route{del, "/v1/tokens/{id}", "delete-token", auth.Admin, everyNode, "token.delete", 0, "End an API token"}, s.deleteToken)
	add(reg, route{get, "/v1/join-tokens", "list-join-tokens", auth.Admin, everyNode, "", 0, "Join tokens"}, s.listJoinTokens)
	add(reg, route{post, "/v1/join-tokens", "create-join-token", auth.Admin, everyNode, "join_token.create", made, "Make a join token"}, s.createJoinToken)
	add(reg, route{del, "/v1/join-tokens/{id}", "expire-join-token", auth.Admin, everyNode, "join_token.expire", 0, "End a join token"}, s.expireJoinToken)
	add(reg, route{get, "/v1/audit", "list-audit", auth.Admin, everyNode, "", 0, "Who did what, the newest first"}, s.listAudit)

	reg.row(route{get, "/v1/events", "watch-events", auth.Viewer, inScope, "", 0, "Changes as they happen"}, s.watchEvents, eventsOperation)
	reg.row(route{get, "/v1/openapi.json", "get-openapi", anyone, noNodes, "", 0, "This document"}, s.getOpenAPI, nil)

	reg.row(route{get, "/{$}", "get-home", anyone, noNodes, "", 0, "The way to the web UI"}, s.UI.ServeHTTP, nil)
	reg.row(route{get, "/ui", "get-ui-root", anyone, noNodes, "", 0, "The way to the web UI"}, s.UI.ServeHTTP, nil)
	reg.row(route{get, "/ui/", "get-ui", anyone, noNodes, "", 0, "The web UI"}, s.UI.ServeHTTP, nil)

	return reg.finish()
}

// registrar collects the rows and the OpenAPI document while New runs.
type registrar struct {
	*Server

	api  huma.API
	errs []error
}

// framework configures huma: JSON only, no pages of its own, no $schema links,
// unknown parameters refused.
func framework() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "ALPS", Version: "1",
				Description: "Operations beside Consul: inventory, jobs, events. Errors are RFC 9457 problems with a code and a hint.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", BearerFormat: "ALPS"},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{fromFramework},
	}
}

// describer completes an operation of the OpenAPI document where the types of
// its handler do not say all.
type describer func(*huma.Operation, huma.Registry)

// add registers a handler that reads I and answers O; its errors become
// problems.
func add[I, O any](reg *registrar, r route, handle func(context.Context, *I) (*O, error), describe ...describer) {
	reg.note(r)
	op := reg.operation(&r)
	for _, d := range describe {
		d(&op, reg.api.OpenAPI().Components.Schemas)
	}
	huma.Register(reg.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, reg.asProblem(ctx, err)
		}
		return out, nil
	})
}

// row registers a handler that speaks HTTP itself; describe completes its
// operation in the OpenAPI document, and nil leaves it out.
func (reg *registrar) row(r route, handle http.HandlerFunc, describe describer) {
	reg.note(r)
	reg.mux.HandleFunc(r.pattern(), handle)
	if describe != nil {
		op := reg.operation(&r)
		describe(&op, reg.api.OpenAPI().Components.Schemas)
		reg.api.OpenAPI().AddOperation(&op)
	}
}

func (reg *registrar) note(r route) {
	if err := r.validate(); err != nil {
		reg.errs = append(reg.errs, err)
	}
	reg.rows[r.pattern()] = &r
}

func (reg *registrar) operation(r *route) huma.Operation {
	schemas := reg.api.OpenAPI().Components.Schemas
	op := huma.Operation{
		Method: r.method, Path: r.path, OperationID: r.id, Summary: r.summary,
		DefaultStatus: r.status, MaxBodyBytes: MaxBody + 1, BodyReadTimeout: readTimeout,
		Responses: map[string]*huma.Response{"default": {
			Description: "What went wrong",
			Content: map[string]*huma.MediaType{
				v1.ProblemType: {Schema: schemas.Schema(reflect.TypeFor[v1.Problem](), true, "")},
			},
		}},
	}
	if r.needs != anyone {
		op.Security = []map[string][]string{{"token": {}}}
		op.Description = fmt.Sprintf("Needs the role %s.", r.needs)
		if r.reach == everyNode {
			op.Description += " The token's scope must be all nodes."
		}
	}
	return op
}

// finish renders the document. The framework has put its own form of errors
// into it, which fromFramework keeps from ever being sent.
func (reg *registrar) finish() error {
	doc := reg.api.OpenAPI()
	schemas := doc.Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("api: write the OpenAPI document: %w", err)
	}
	b = append(b, '\n')
	reg.openAPI = b
	if len(reg.errs) > 0 {
		return reg.errs[0]
	}
	return nil
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(s.openAPI)))
	w.Write(s.openAPI)
}

// seconds turns what a client asked for into a duration, without overflow.
func seconds(n int) time.Duration {
	const most = 100 * 365 * 24 * 3600
	return time.Duration(min(n, most)) * time.Second
}
