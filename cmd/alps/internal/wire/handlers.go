package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"alps/agent/check"
	"alps/agent/dns"
	"alps/agent/exec"
	"alps/agent/fact"
	"alps/agent/link"
	"alps/mesh"
	"alps/mesh/consul"
	"alps/mesh/dispatch"
	"alps/mesh/frame"
)

// handlers answer what a server sends. Its fields are set before anything
// runs.
type handlers struct {
	link   *link.Link
	engine *exec.Engine
	facts  *fact.Collector
	checks *check.Engine
	define *definer
	names  *dns.Server // nil: this agent answers no names.
	pinned *pinned
}

// uploadTime bounds the upload of one output body of at most 1 MiB.
const uploadTime = 30 * time.Second

// want uploads an output that the server has asked for.
func (h *handlers) want(ctx context.Context, payload []byte) error {
	var w frame.WantPayload
	if err := json.Unmarshal(payload, &w); err != nil {
		return mesh.Errorf(mesh.Invalid, "decode what the server wants: %w", err)
	}
	body, err := h.engine.Output(w.Digest)
	if err != nil {
		return err
	}
	defer body.Close()
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, link.BaseURL+"/v1/output/"+w.Digest, body)
	if err != nil {
		return fmt.Errorf("upload output %s: %w", w.Digest, err)
	}
	return do(h.link, req, nil)
}

// config begins every link: the revocations, the node's configuration, and the
// cue to say again what this node is, checks and holds, since the server may
// be another one, or an emptied one.
func (h *handlers) config(_ context.Context, payload []byte) error {
	h.facts.Resend()
	h.checks.Resend()
	var errs []error
	if h.names != nil {
		errs = append(errs, h.link.Send(frame.Have, h.names.Have(), false))
	}
	var c AgentConfig
	if err := json.Unmarshal(payload, &c); err != nil {
		return mesh.Errorf(mesh.Invalid, "decode the server's config: %w", err)
	}
	if c.Settings != nil {
		errs = append(errs, h.define.set(*c.Settings))
	}
	if c.Revoked != nil {
		errs = append(errs, h.pinned.revoke(*c.Revoked))
	}
	return errors.Join(errs...)
}

// zone takes names over. What does not fit to what is held is asked for anew.
func (h *handlers) zone(_ context.Context, payload []byte) error {
	if h.names == nil {
		return nil
	}
	err := h.names.Apply(payload)
	if mesh.CodeOf(err) == mesh.Conflict {
		return h.link.Send(frame.Have, h.names.Have(), false)
	}
	return err
}

// runCheck runs checks now.
func (h *handlers) runCheck(_ context.Context, payload []byte) error {
	var r frame.RunCheckPayload
	if err := json.Unmarshal(payload, &r); err != nil {
		return mesh.Errorf(mesh.Invalid, "decode which checks to run: %w", err)
	}
	if len(r.Checks) == 0 { // to the engine it would mean all of them.
		return mesh.Errorf(mesh.Invalid, "no check is named")
	}
	return h.checks.RunNow(r.Checks...)
}

// do makes a request to the server that holds the link.
func do(l *link.Link, req *http.Request, into *bytes.Buffer) error {
	res, err := l.HTTP().Do(req)
	if err != nil {
		return mesh.Errorf(mesh.Unavailable, "%s %s: %w", req.Method, req.URL.Path, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // what arrives of it is better than nothing.
		code := mesh.Unavailable
		if res.StatusCode == http.StatusNotFound {
			code = mesh.NotFound
		}
		return mesh.Errorf(code, "%s %s: the server answers %s: %s", req.Method, req.URL.Path, res.Status, bytes.TrimSpace(text))
	}
	if into == nil {
		return nil
	}
	_, err = into.ReadFrom(io.LimitReader(res.Body, mesh.MaxScript+1))
	return err
}

// blobs is exec.Blobs by requests to the server that holds the link.
type blobs struct{ link *link.Link }

func (b blobs) Fetch(ctx context.Context, sha256 string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link.BaseURL+"/v1/blob/"+sha256, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("fetch script %s: %w", sha256, err)
	}
	var body bytes.Buffer
	err = do(b.link, req, &body)
	return body.Bytes(), err
}

// sender is exec.Reports and fact.Sender on the link.
type sender struct{ link *link.Link }

func (s sender) Send(r mesh.Report, durable bool) error {
	return s.send(frame.Exec, r, durable)
}

func (s sender) SendObservation(_ context.Context, o mesh.Observation) error {
	return s.send(frame.Fact, o, false)
}

// checkSender is check.Reports on the link.
type checkSender struct{ sender }

func (s checkSender) Send(r mesh.CheckReport, durable bool) error {
	return s.send(frame.Check, r, durable)
}

func (s sender) send(k frame.Kind, v any, durable bool) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a %s message: %w", k, err)
	}
	return s.link.Send(k, payload, durable)
}

// execBoard is exec.Board on the local Consul agent.
type execBoard struct {
	c   *consul.Client
	log hclog.Logger
}

func (b execBoard) Read(ctx context.Context, key string, consistent bool) ([]byte, bool, error) {
	p, _, err := b.c.Get(ctx, key, consul.Query{Mode: mode(consistent)})
	if err != nil || p == nil {
		return nil, false, err
	}
	return p.Value, true, nil
}

// A busy head is read about once a second; after a quiet time a few reads are
// free, so that one job after the other starts at once.
const (
	headInterval = time.Second
	headBurst    = 8
)

func (b execBoard) WatchHead(ctx context.Context, key string, kick <-chan struct{}, fn func([]byte, bool)) {
	o := consul.WatchOptions{Kick: kick, MinInterval: headInterval, Burst: headBurst, Report: b.report}
	consul.Watch(ctx, o, func(ctx context.Context, q consul.Query) (*consul.Pair, consul.Meta, error) {
		return b.c.Get(ctx, key, q)
	}, func(p *consul.Pair, m consul.Meta) {
		var doc []byte
		if p != nil {
			doc = p.Value
		}
		fn(doc, m.Reset)
	})
}

// report says once that Consul is away, and once that it is back. The events
// have nothing to add: they fail and mend with the heads.
func (b execBoard) report(err error) {
	if err != nil {
		b.log.Warn("jobs cannot be read from Consul", "error", err)
		return
	}
	b.log.Info("jobs can be read from Consul again")
}

func (b execBoard) WatchEvents(ctx context.Context, fn func(string)) {
	b.c.WatchEvents(ctx, dispatch.EventName, consul.WatchOptions{}, func(e consul.Event) { fn(string(e.Payload)) })
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
