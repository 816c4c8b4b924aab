package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/consul/api"

	"alps/mesh"
)

// failure turns an error of Consul's client into one of ours. ctx is the
// caller's: when it has ended, that is the reason and no fault of Consul.
func (c *Client) failure(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	code, err := classify(err)
	e := mesh.Errorf(code, "%s: Consul at %s: %w", what, c.base, err)
	switch code {
	case mesh.Unavailable:
		return e.WithHint("is it running, and has it a leader? consul members -http-addr=%s", c.base)
	case mesh.Denied:
		return e.WithHint("look at the token's policies: consul acl token read -self -http-addr=%s", c.base)
	default:
		return e
	}
}

// classify gives err its code, and takes the parts off that say nothing new.
func classify(err error) (mesh.Code, error) {
	if s, ok := errors.AsType[api.StatusError](err); ok {
		return codeOfStatus(s), fmt.Errorf("%d: %s", s.Code, oneLine(s.Body))
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // it would repeat the address.
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return mesh.Unavailable, err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return mesh.Unavailable, fmt.Errorf("no answer in time: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return mesh.Unavailable, fmt.Errorf("the connection broke: %w", err)
	}
	return mesh.Internal, err
}

func codeOfStatus(s api.StatusError) mesh.Code {
	switch s.Code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return mesh.Denied
	case http.StatusNotFound:
		return mesh.NotFound
	case http.StatusConflict:
		return mesh.Conflict
	case http.StatusRequestEntityTooLarge:
		return mesh.TooLarge
	case http.StatusTooManyRequests:
		return mesh.Unavailable
	}
	switch {
	case s.Code < http.StatusInternalServerError:
		return mesh.Invalid
	case strings.Contains(s.Body, "Permission denied"), strings.Contains(s.Body, "ACL not found"):
		return mesh.Denied // some endpoints wrap it in a 500.
	case strings.Contains(s.Body, "Unknown check"), strings.Contains(s.Body, "Unknown service"):
		return mesh.NotFound // so did versions before 1.11.
	case strings.Contains(s.Body, "invalid session"):
		return mesh.NotFound // a lock with a session that is gone.
	default:
		return mesh.Unavailable
	}
}

// oneLine makes a foreign text fit into a message.
func oneLine(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
