package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"alps/mesh"
	"alps/server/api/apitest"
	v1 "alps/server/api/v1"
	"alps/server/auth"
)

// schema is as much of a JSON schema as the OpenAPI document uses for answers.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *schema            `json:"items"`
	Additional json.RawMessage    `json:"additionalProperties"`
}

// check says where v differs from s.
func (s *schema) check(at string, v any, all map[string]*schema) []string {
	for s.Ref != "" {
		s = all[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	kind := map[reflect.Kind]string{
		reflect.Invalid: "null", reflect.Bool: "boolean", reflect.String: "string", reflect.Float64: "number", reflect.Slice: "array", reflect.Map: "object",
	}[reflect.ValueOf(v).Kind()]
	if types := fmt.Sprint(s.Type); s.Type != nil && !strings.Contains(strings.ReplaceAll(types, "integer", "number"), kind) {
		return []string{fmt.Sprintf("%s is of the type %s, want %s", at, kind, types)}
	}
	var wrong []string
	switch v := v.(type) {
	case []any:
		for i := range v {
			wrong = append(wrong, s.Items.check(fmt.Sprintf("%s[%d]", at, i), v[i], all)...)
		}
	case map[string]any:
		for _, k := range s.Required {
			if _, ok := v[k]; !ok {
				wrong = append(wrong, at+"."+k+" is missing")
			}
		}
		for k := range v {
			if p := s.Properties[k]; p != nil {
				wrong = append(wrong, p.check(at+"."+k, v[k], all)...)
			} else if string(s.Additional) == "false" {
				wrong = append(wrong, at+"."+k+" is not in the document")
			}
		}
	}
	return wrong
}

// fill sets everything in v that is not set.
func fill(v reflect.Value, depth int) {
	switch {
	case !v.CanSet() || !v.IsZero() && v.Kind() != reflect.Struct || depth > 8:
		return
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(apitest.AsOf()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth+1)
		fill(elem, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, elem)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, depth+1)
		}
	}
}

// TestAnswersFitTheDocument holds answers in which everything is set, and ones
// in which nothing is, against what the document says of them.
func TestAnswersFitTheDocument(t *testing.T) {
	e := apitest.Start(t)
	c := as(t, e, auth.Admin, "")
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct{ Schema *schema }
			}
		}
		Components struct{ Schemas map[string]*schema }
	}
	if err := json.Unmarshal(c.do(http.MethodGet, "/v1/openapi.json", "").body, &doc); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{
		"/v1/checks": "/v1/checks", "/v1/services": "/v1/services", "/v1/services/{name}": "/v1/services/web", "/v1/datacenters": "/v1/datacenters",
		"/v1/nodes/{name}/checks": "/v1/nodes/web1/checks", "/v1/nodes/{name}/sessions": "/v1/nodes/web1/sessions",
		"/v1/nodes/{name}/rtt": "/v1/nodes/web1/rtt", "/v1/nodes/{name}/config": "/v1/nodes/web1/config",
		"/v1/kv": "/v1/kv", "/v1/kv/value": "/v1/kv/value?key=k", "/v1/acl": "/v1/acl",
		"/v1/incidents": "/v1/incidents", "/v1/incidents/{id}": "/v1/incidents/0001", "/v1/rules": "/v1/rules", "/v1/policies": "/v1/policies",
		"/v1/remedy-runs": "/v1/remedy-runs", "/v1/remedy-runs/{id}": "/v1/remedy-runs/0123456789abcdef",
	}
	node := apitest.Node("web1", "web")
	node.Services = []mesh.Service{{ID: "w", Name: "web"}}
	states := map[string]*apitest.LoopState{
		"bare": {
			Checks: make([]mesh.CheckState, 1), Datacenters: make([]v1.Datacenter, 1), Sessions: map[mesh.NodeName][]v1.LockSession{"web1": make([]v1.LockSession, 1)},
			Settings: make([]mesh.Setting, 1), Rules: v1.RuleList{Rules: make([]mesh.Rule, 1), Receivers: make([]mesh.Receiver, 1)},
		},
		"full": {RTTs: map[mesh.NodeName]float64{"web2": 1}, Sessions: map[mesh.NodeName][]v1.LockSession{"web1": {{Keys: []string{"k"}}}}},
	}
	full := reflect.ValueOf(states["full"]).Elem()
	states["full"].RunFault = fmt.Errorf("not asked for")
	fill(full, 0)
	fill(reflect.ValueOf(&states["full"].Sessions["web1"][0]).Elem(), 0)
	for name, state := range states {
		state.Keys = map[string]v1.KVPair{"k": {Key: "k"}}
		state.Incidents, state.Runs = append(state.Incidents, incident(1, "web1", "")), append(state.Runs, mesh.RemedyRun{})
		state.Incidents[0].ID, state.Runs[0].ID = "0001000000000000", "0123456789abcdef"
		state.Incidents = state.Incidents[:1]
		n := node
		if name == "full" {
			fill(reflect.ValueOf(&n).Elem(), 0)
			n.Services[0].Tags, n.Checks[0].ServiceID = []string{"x"}, "w"
		}
		e.SetNodes(n)
		e.Loop.Change(func(s *apitest.LoopState) { *s = *state })
		for path, url := range paths {
			a := c.do(http.MethodGet, url, "")
			var v any
			if err := json.Unmarshal(a.body, &v); err != nil || a.status != http.StatusOK {
				t.Errorf("%s %s: %d %s, %v", name, url, a.status, a.body, err)
				continue
			}
			wrong := doc.Paths[path]["get"].Responses["200"].Content["application/json"].Schema.check("", v, doc.Components.Schemas)
			slices.Sort(wrong)
			if len(wrong) > 0 {
				t.Errorf("%s %s:\n\t%s\n%s", name, url, strings.Join(wrong, "\n\t"), a.body)
			}
		}
	}
}
