package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"alps/mesh"
	"alps/mesh/sign"
	v1 "alps/server/api/v1"
)

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var answer T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, answer: &answer})
	return answer, err
}

func post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	var answer T
	err := c.do(ctx, call{method: http.MethodPost, path: path, body: body, answer: &answer})
	return answer, err
}

// params builds a query, leaving out what is empty.
func params(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func number[N int | int64](n N) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(int64(n), 10)
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Status says how the server is; without a token only its version and cluster.
func (c *Client) Status(ctx context.Context) (v1.Status, error) {
	return get[v1.Status](ctx, c, "/v1/status", nil)
}

// Members returns the members of all datacenters.
func (c *Client) Members(ctx context.Context) (v1.MemberList, error) {
	return get[v1.MemberList](ctx, c, "/v1/members", nil)
}

// Nodes returns one page of nodes.
func (c *Client) Nodes(ctx context.Context, f v1.NodeFilter) (v1.NodeList, error) {
	return get[v1.NodeList](ctx, c, "/v1/nodes", params("q", f.Query, "after", f.After, "limit", number(f.Limit)))
}

// Node returns a node by its name or its NodeID.
func (c *Client) Node(ctx context.Context, nameOrID string) (mesh.Node, error) {
	return ofNode[mesh.Node](ctx, c, nameOrID, "")
}

// Revoke shuts a node out for good.
func (c *Client) Revoke(ctx context.Context, nameOrID, reason string) error {
	return c.do(ctx, call{
		method: http.MethodPost, path: "/v1/nodes/" + url.PathEscape(nameOrID) + "/revoke",
		body: v1.RevokeRequest{Reason: reason},
	})
}

func jobPath(id, rest string) string { return "/v1/jobs/" + url.PathEscape(id) + rest }

// Submit runs something on nodes. When the answer holds a Draft, it must be
// signed (see Sign) before anything runs. With a SubmitToken it may be called
// again after an error.
func (c *Client) Submit(ctx context.Context, r v1.JobRequest) (v1.Submission, error) {
	if r.Script != nil && len(r.Script.Body) == 0 {
		return v1.Submission{}, mesh.Errorf(mesh.Invalid, "the script %q is empty", r.Script.Name)
	}
	return post[v1.Submission](ctx, c, "/v1/jobs", r)
}

// Sign completes a draft.
func (c *Client) Sign(ctx context.Context, id mesh.JobID, env sign.Envelope) (v1.Submission, error) {
	return post[v1.Submission](ctx, c, jobPath(string(id), "/signature"), v1.Signature{Envelope: env})
}

// Job returns one job by its id or the beginning of it.
func (c *Client) Job(ctx context.Context, id string) (v1.Job, error) {
	if id == "" {
		return v1.Job{}, mesh.Errorf(mesh.Invalid, "an id is missing").WithHint("alps job list")
	}
	return get[v1.Job](ctx, c, jobPath(id, ""), nil)
}

// Jobs lists jobs, the newest first.
func (c *Client) Jobs(ctx context.Context, f v1.JobFilter) (v1.JobList, error) {
	q := params("state", string(f.State), "author", f.Author, "prefix", f.Prefix, "node", string(f.Node), "before", string(f.Before), "limit", number(f.Limit))
	if f.Open {
		q.Set("open", "true")
	}
	return get[v1.JobList](ctx, c, "/v1/jobs", q)
}

// Targets returns a page of the targets of a job.
func (c *Client) Targets(ctx context.Context, id string, f v1.TargetFilter) (v1.TargetList, error) {
	return get[v1.TargetList](ctx, c, jobPath(id, "/targets"),
		params("state", string(f.State), "group", f.Group, "from", number(f.From), "limit", number(f.Limit)))
}

// Output returns the kept bytes of one output of a job.
func (c *Client) Output(ctx context.Context, id, digest string) ([]byte, error) {
	return get[[]byte](ctx, c, jobPath(id, "/output/"+url.PathEscape(digest)), nil)
}

// Steer cancels, pauses or resumes a job, or opens its next wave. When the
// answer holds a Draft, nothing has happened until it is signed (see Sign).
func (c *Client) Steer(ctx context.Context, id string, what v1.Steer) (v1.Submission, error) {
	return post[v1.Submission](ctx, c, jobPath(id, "/"+url.PathEscape(string(what))), nil)
}

// Tokens lists the API tokens.
func (c *Client) Tokens(ctx context.Context) ([]v1.Token, error) {
	list, err := get[v1.TokenList](ctx, c, "/v1/tokens", nil)
	return list.Tokens, err
}

// CreateToken makes an API token; its text is in the answer and nowhere else.
func (c *Client) CreateToken(ctx context.Context, r v1.TokenRequest) (v1.NewToken, error) {
	return post[v1.NewToken](ctx, c, "/v1/tokens", r)
}

// DeleteToken ends an API token.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/tokens/" + url.PathEscape(id)})
}

// JoinTokens lists the join tokens.
func (c *Client) JoinTokens(ctx context.Context) ([]v1.JoinToken, error) {
	list, err := get[v1.JoinTokenList](ctx, c, "/v1/join-tokens", nil)
	return list.Tokens, err
}

// CreateJoinToken makes a join token; its text is in the answer and nowhere
// else.
func (c *Client) CreateJoinToken(ctx context.Context, r v1.JoinTokenRequest) (v1.NewJoinToken, error) {
	return post[v1.NewJoinToken](ctx, c, "/v1/join-tokens", r)
}

// ExpireJoinToken ends a join token.
func (c *Client) ExpireJoinToken(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/join-tokens/" + url.PathEscape(id)})
}

// Audit returns a page of who did what, the newest first.
func (c *Client) Audit(ctx context.Context, f v1.AuditFilter) (v1.AuditList, error) {
	return get[v1.AuditList](ctx, c, "/v1/audit", params(
		"actor", f.Actor, "action", f.Action, "object", f.Object, "since", instant(f.Since), "until", instant(f.Until),
		"before", number(f.Before), "limit", number(f.Limit)))
}

// Checks returns a page of how checks are.
func (c *Client) Checks(ctx context.Context, f v1.CheckFilter) (v1.CheckList, error) {
	return get[v1.CheckList](ctx, c, "/v1/checks", params(
		"q", f.Query, "check", f.Check, "status", string(f.Status), "after", f.After, "limit", number(f.Limit)))
}

// NodeChecks returns how the checks of one node are.
func (c *Client) NodeChecks(ctx context.Context, nameOrID string) (v1.CheckList, error) {
	return ofNode[v1.CheckList](ctx, c, nameOrID, "/checks")
}

// RunCheck asks for a check to be run now. It does not wait for results.
func (c *Client) RunCheck(ctx context.Context, r v1.RunCheckRequest) (v1.RunCheckAnswer, error) {
	return post[v1.RunCheckAnswer](ctx, c, "/v1/checks/run", r)
}

// ofNode reads what is about one node.
func ofNode[T any](ctx context.Context, c *Client, nameOrID, rest string) (T, error) {
	if nameOrID == "" {
		var none T
		return none, mesh.Errorf(mesh.Invalid, "the name of a node is missing").WithHint("alps node list")
	}
	return get[T](ctx, c, "/v1/nodes/"+url.PathEscape(nameOrID)+rest, nil)
}

// NodeConfig returns the effective configuration of a node.
func (c *Client) NodeConfig(ctx context.Context, nameOrID string) (v1.SettingList, error) {
	return ofNode[v1.SettingList](ctx, c, nameOrID, "/config")
}

// NodeSessions returns the sessions of a node and the keys that they lock.
func (c *Client) NodeSessions(ctx context.Context, nameOrID string) (v1.SessionList, error) {
	return ofNode[v1.SessionList](ctx, c, nameOrID, "/sessions")
}

// NodeRTT returns the round-trip times from a node to the others.
func (c *Client) NodeRTT(ctx context.Context, nameOrID string) (v1.Tomography, error) {
	return ofNode[v1.Tomography](ctx, c, nameOrID, "/rtt")
}

// Datacenters returns the datacenters that the server knows.
func (c *Client) Datacenters(ctx context.Context) ([]v1.Datacenter, error) {
	list, err := get[v1.DatacenterList](ctx, c, "/v1/datacenters", nil)
	return list.Datacenters, err
}

// Services returns the services of a datacenter, of all when dc is empty.
func (c *Client) Services(ctx context.Context, dc string) (v1.ServiceList, error) {
	return get[v1.ServiceList](ctx, c, "/v1/services", params("dc", dc))
}

// Service returns one service; an empty dc means the first that has it.
func (c *Client) Service(ctx context.Context, name, dc string) (v1.ServiceDetail, error) {
	if name == "" {
		return v1.ServiceDetail{}, mesh.Errorf(mesh.Invalid, "the name of a service is missing").WithHint("alps service list")
	}
	return get[v1.ServiceDetail](ctx, c, "/v1/services/"+url.PathEscape(name), params("dc", dc))
}

// Keys returns the keys right below a prefix.
func (c *Client) Keys(ctx context.Context, dc, prefix string) (v1.KVList, error) {
	return get[v1.KVList](ctx, c, "/v1/kv", params("dc", dc, "prefix", prefix))
}

// Key returns one key with its value.
func (c *Client) Key(ctx context.Context, dc, key string) (v1.KVPair, error) {
	return get[v1.KVPair](ctx, c, "/v1/kv/value", params("dc", dc, "key", key))
}

// PutKey writes a key that has not changed since it was read; mesh.Conflict
// when it has.
func (c *Client) PutKey(ctx context.Context, dc, key string, w v1.KVWrite) (v1.KVPair, error) {
	if w.Value == nil {
		w.Value = []byte{} // the document needs one, and an empty one is one.
	}
	var answer v1.KVPair
	err := c.do(ctx, call{method: http.MethodPut, path: "/v1/kv/value", query: params("dc", dc, "key", key), body: w, answer: &answer})
	return answer, err
}

// DeleteKey deletes a key that has not changed since it was read.
func (c *Client) DeleteKey(ctx context.Context, dc, key string, index uint64) error {
	q := params("dc", dc, "key", key, "index", strconv.FormatUint(index, 10))
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/kv/value", query: q})
}

// ACL returns Consul's tokens and policies, without their secrets.
func (c *Client) ACL(ctx context.Context, dc string) (v1.ACL, error) {
	return get[v1.ACL](ctx, c, "/v1/acl", params("dc", dc))
}

// Incidents returns a page of incidents without their timelines.
func (c *Client) Incidents(ctx context.Context, f v1.IncidentFilter) (v1.IncidentList, error) {
	q := params("q", f.Query, "rule", f.Rule, "before", string(f.Before), "limit", number(f.Limit))
	for _, s := range f.Status {
		q.Add("status", string(s))
	}
	return get[v1.IncidentList](ctx, c, "/v1/incidents", q)
}

// Incident returns one incident by its id or the beginning of it.
func (c *Client) Incident(ctx context.Context, id string) (mesh.Incident, error) {
	if id == "" {
		return mesh.Incident{}, mesh.Errorf(mesh.Invalid, "an id is missing").WithHint("alps alert list")
	}
	return get[mesh.Incident](ctx, c, "/v1/incidents/"+url.PathEscape(id), nil)
}

// ChangeIncident does what a person wants with an incident.
func (c *Client) ChangeIncident(ctx context.Context, id string, what v1.IncidentChange, text string) (mesh.Incident, error) {
	if id == "" {
		return mesh.Incident{}, mesh.Errorf(mesh.Invalid, "an id is missing").WithHint("alps alert list")
	}
	return post[mesh.Incident](ctx, c, "/v1/incidents/"+url.PathEscape(id)+"/"+url.PathEscape(string(what)), v1.IncidentRequest{Text: text})
}

// Rules returns the rules and receivers in force.
func (c *Client) Rules(ctx context.Context) (v1.RuleList, error) {
	return get[v1.RuleList](ctx, c, "/v1/rules", nil)
}

// Policies returns the policies and how they stand.
func (c *Client) Policies(ctx context.Context) (v1.PolicyList, error) {
	return get[v1.PolicyList](ctx, c, "/v1/policies", nil)
}

// RemedyRuns returns what policies did and refused to do, the newest first.
func (c *Client) RemedyRuns(ctx context.Context, f v1.RemedyRunFilter) ([]mesh.RemedyRun, error) {
	list, err := get[v1.RemedyRunList](ctx, c, "/v1/remedy-runs", params(
		"policy", f.Policy, "incident", string(f.Incident), "limit", number(f.Limit)))
	return list.Runs, err
}

// RemedyRun returns one run with its evidence.
func (c *Client) RemedyRun(ctx context.Context, id string) (mesh.RemedyRun, error) {
	if id == "" {
		return mesh.RemedyRun{}, mesh.Errorf(mesh.Invalid, "an id is missing").WithHint("alps remedy runs")
	}
	return get[mesh.RemedyRun](ctx, c, "/v1/remedy-runs/"+url.PathEscape(id), nil)
}

// ApproveRemedy lets a run that was proposed act.
func (c *Client) ApproveRemedy(ctx context.Context, id, reason string) (mesh.RemedyRun, error) {
	return answerRemedy(ctx, c, id, "approve", reason)
}

// RejectRemedy ends a run that was proposed.
func (c *Client) RejectRemedy(ctx context.Context, id, reason string) (mesh.RemedyRun, error) {
	return answerRemedy(ctx, c, id, "reject", reason)
}

func answerRemedy(ctx context.Context, c *Client, id, what, reason string) (mesh.RemedyRun, error) {
	if id == "" {
		return mesh.RemedyRun{}, mesh.Errorf(mesh.Invalid, "an id is missing").WithHint("alps remedy runs")
	}
	return post[mesh.RemedyRun](ctx, c, "/v1/remedy-runs/"+url.PathEscape(id)+"/"+what, v1.ApprovalRequest{Reason: reason})
}

// SimulatePolicy says what a policy would do about an incident, by its id or
// the beginning of it. It asks nodes, which takes as long as they need, at
// most SimulateTimeout.
func (c *Client) SimulatePolicy(ctx context.Context, policy, incident string) (v1.Simulation, error) {
	if policy == "" {
		return v1.Simulation{}, mesh.Errorf(mesh.Invalid, "the name of a policy is missing").WithHint("alps remedy list")
	}
	var answer v1.Simulation
	err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/policies/" + url.PathEscape(policy) + "/simulate",
		body: v1.SimulationRequest{Incident: incident}, answer: &answer, timeout: SimulateTimeout,
	})
	return answer, err
}

// PauseRemedy keeps the policies that are meant from acting.
func (c *Client) PauseRemedy(ctx context.Context, scope mesh.RemedyScope, reason string) error {
	return c.throw(ctx, "pause", scope, reason)
}

// ResumeRemedy lets the policies that are meant act again; of a policy it also
// closes the breaker.
func (c *Client) ResumeRemedy(ctx context.Context, scope mesh.RemedyScope, reason string) error {
	return c.throw(ctx, "resume", scope, reason)
}

func (c *Client) throw(ctx context.Context, what string, scope mesh.RemedyScope, reason string) error {
	return c.do(ctx, call{
		method: http.MethodPost, path: "/v1/remedy/" + what, query: params("policy", scope.Policy, "group", scope.Group),
		body: v1.PauseRequest{Reason: reason},
	})
}
