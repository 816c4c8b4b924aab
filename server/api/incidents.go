package api

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

const (
	incidentsPage = 100
	// incidentsRead is how many are read at once where a scope hides some.
	incidentsRead = 500
)

type incidentsIn struct {
	Status []string `query:"status,explode" doc:"open, acked, closed; absent means all"`
	Query  string   `query:"q" maxLength:"4096" doc:"a query over nodes; empty means all, and incidents of no node"`
	Rule   string   `query:"rule" maxLength:"256"`
	Before string   `query:"before" maxLength:"64" doc:"the next of the page before"`
	Limit  int      `query:"limit" minimum:"0" maximum:"1000" doc:"0 means 100"`
}

type incidentsOut struct{ Body v1.IncidentList }

func (s *Server) listIncidents(ctx context.Context, in *incidentsIn) (*incidentsOut, error) {
	expr, err := asked(in.Query)
	if err != nil {
		return nil, err
	}
	f := v1.IncidentFilter{Rule: in.Rule, Before: mesh.IncidentID(in.Before), Limit: incidentsRead}
	for _, st := range in.Status {
		switch got := mesh.IncidentStatus(st); got {
		case mesh.IncidentOpen, mesh.IncidentAcked, mesh.IncidentClosed:
			f.Status = append(f.Status, got)
		default:
			return nil, mesh.Errorf(mesh.Invalid, "there is no status %q of an incident", st).WithHint("open, acked or closed")
		}
	}
	see, err := s.sees(ctx, expr)
	if err != nil {
		return nil, err
	}
	who := callFrom(ctx).actor
	limit := orDefault(in.Limit, incidentsPage)
	out := v1.IncidentList{Incidents: []mesh.Incident{}}
	for {
		page, err := s.Incidents.Incidents(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, i := range page.Incidents {
			if expr == nil && i.Node == "" && who.Unlimited() || i.Node != "" && see(i.DC, i.Node) {
				out.Incidents = append(out.Incidents, i)
			}
			if len(out.Incidents) > limit {
				out.Incidents = out.Incidents[:limit]
				out.Next = out.Incidents[limit-1].ID
				return &incidentsOut{out}, nil
			}
		}
		if page.Next == "" {
			return &incidentsOut{out}, nil
		}
		f.Before = page.Next
	}
}

type incidentIn struct {
	ID string `path:"id" pattern:"^[0-9a-f]{4,16}$" patternDescription:"an incident's id or its beginning, at least 4 hexadecimal digits" doc:"an incident's id, or its unique beginning of at least 4 digits"`
}

type incidentOut struct{ Body mesh.Incident }

func (s *Server) getIncident(ctx context.Context, in *incidentIn) (*incidentOut, error) {
	i, err := s.incident(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &incidentOut{i}, nil
}

// incident finds an incident that the caller may see, in the words of one that
// does not exist where they may not.
func (s *Server) incident(ctx context.Context, typed string) (mesh.Incident, error) {
	i, err := s.Incidents.Incident(ctx, typed)
	if err != nil && mesh.CodeOf(err) != mesh.NotFound {
		return mesh.Incident{}, err
	}
	see, serr := s.sees(ctx, nil)
	if serr != nil {
		return mesh.Incident{}, serr
	}
	if err != nil || !scoped(callFrom(ctx).actor, see, i.DC, i.Node) {
		return mesh.Incident{}, mesh.Errorf(mesh.NotFound, "there is no incident %s", typed).WithHint("`alps alert list` shows the incidents")
	}
	return i, nil
}

type changeIncidentIn struct {
	ID   string `path:"id" pattern:"^[0-9a-f]{4,16}$" patternDescription:"an incident's id or its beginning, at least 4 hexadecimal digits" doc:"an incident's id, or its unique beginning of at least 4 digits"`
	Body v1.IncidentRequest
}

// changeIncident makes the handler of what a person does about an incident.
func (s *Server) changeIncident(what v1.IncidentChange) func(context.Context, *changeIncidentIn) (*incidentOut, error) {
	return func(ctx context.Context, in *changeIncidentIn) (*incidentOut, error) {
		i, err := s.incident(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		about(ctx, string(i.ID), map[string]string{"rule": i.Rule, "node": string(i.Node), "text": in.Body.Text})
		if what == v1.IncidentComment && strings.TrimSpace(in.Body.Text) == "" {
			return nil, mesh.Errorf(mesh.Invalid, "the comment is empty")
		}
		i, err = s.Incidents.Change(ctx, i.ID, callFrom(ctx).actor.Name, what, in.Body.Text)
		if err != nil {
			return nil, err
		}
		return &incidentOut{i}, nil
	}
}

type rulesOut struct{ Body v1.RuleList }

func (s *Server) listRules(ctx context.Context, _ *struct{}) (*rulesOut, error) {
	list, err := s.Incidents.Rules(ctx)
	if err != nil {
		return nil, err
	}
	list.Rules, list.Receivers = full(list.Rules), slices.Clone(full(list.Receivers))
	for i := range list.Receivers {
		list.Receivers[i].URL = shownURL(list.Receivers[i].URL)
	}
	return &rulesOut{list}, nil
}

// shownURL keeps of a webhook's address where it goes. The rest is how many
// services know their callers: whoever has it can speak in our name.
func shownURL(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "…"
	}
	if strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.User == nil && u.Fragment == "" {
		return text
	}
	return u.Scheme + "://" + u.Host + "/…"
}
