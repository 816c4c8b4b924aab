package wire

import (
	"context"
	"encoding/json"

	"alps/mesh"
	"alps/server/alert"
	v1 "alps/server/api/v1"
	"alps/server/stream"
)

// incidents is api.Incidents on the engine of the alerts.
type incidents struct {
	e         *alert.Engine
	receivers func() []mesh.Receiver
}

func (i incidents) Incidents(ctx context.Context, f v1.IncidentFilter) (v1.IncidentList, error) {
	ask := alert.Filter{Status: f.Status, Rule: f.Rule, Before: f.Before, Limit: f.Limit}
	if f.Limit > 0 {
		ask.Limit++ // whether there is one more.
	}
	list, err := i.e.Incidents(ctx, ask)
	out := v1.IncidentList{Incidents: list}
	if err == nil && f.Limit > 0 && len(list) > f.Limit {
		out.Incidents = list[:f.Limit]
		out.Next = list[f.Limit-1].ID
	}
	return out, err
}

func (i incidents) Incident(ctx context.Context, id string) (mesh.Incident, error) {
	return i.e.Incident(ctx, id)
}

func (i incidents) Change(ctx context.Context, id mesh.IncidentID, actor string, what v1.IncidentChange, text string) (mesh.Incident, error) {
	do := map[v1.IncidentChange]func(context.Context, mesh.IncidentID, string, string) (mesh.Incident, error){
		v1.IncidentAck: i.e.Ack, v1.IncidentClose: i.e.Close, v1.IncidentReopen: i.e.Reopen, v1.IncidentComment: i.e.Comment,
	}[what]
	if do == nil {
		return mesh.Incident{}, mesh.Errorf(mesh.Invalid, "an incident cannot be changed by %q", what)
	}
	return do(ctx, id, actor, text)
}

func (i incidents) Rules(context.Context) (v1.RuleList, error) {
	return v1.RuleList{Rules: i.e.Rules(), Receivers: i.receivers(), Problems: i.e.Problems()}, nil
}

// changedIncident is the event of an incident whose story goes on.
func changedIncident(i mesh.Incident) stream.Event {
	data, err := json.Marshal(map[string]string{"id": string(i.ID), "status": string(i.Status), "rule": i.Rule, "severity": i.Severity})
	if err != nil { // strings always encode.
		data = nil
	}
	return stream.Event{Topic: "incident/" + string(i.ID), Type: string(i.Status), Node: i.Node, Data: data}
}
