package v1

import (
	"net/http"

	"alps/mesh"
)

// ProblemType is the media type of a Problem, by RFC 9457.
const ProblemType = "application/problem+json"

// Problem is the body of every answer that is not a success.
type Problem struct {
	Type   string    `json:"type" doc:"always about:blank: the code says what kind of problem it is"`
	Title  string    `json:"title" doc:"the HTTP status in words"`
	Status int       `json:"status" doc:"the HTTP status"`
	Detail string    `json:"detail" doc:"what was attempted and what is wrong"`
	Code   mesh.Code `json:"code" doc:"the kind of problem, for programs" enum:"internal,invalid,not_found,conflict,denied,unauthorized,no_targets,needs_key,unavailable,too_large"`
	Hint   string    `json:"hint,omitempty" doc:"what to do next"`
	// Request is the id that the server's log knows the request by.
	Request string `json:"request,omitempty" doc:"the request's id in the server's log"`
}

// Err returns the error that the server meant.
func (p *Problem) Err() *mesh.Error {
	return &mesh.Error{Code: p.Code, Message: p.Detail, Hint: p.Hint}
}

// statuses is the one table between the codes of errors and the statuses of
// HTTP. Several codes may share a status: a client goes by the code.
var statuses = []struct {
	code   mesh.Code
	status int
}{
	{mesh.Internal, http.StatusInternalServerError},
	{mesh.Invalid, http.StatusUnprocessableEntity},
	{mesh.NoTargets, http.StatusUnprocessableEntity},
	{mesh.NotFound, http.StatusNotFound},
	{mesh.Conflict, http.StatusConflict},
	{mesh.Denied, http.StatusForbidden},
	{mesh.Unauthorized, http.StatusUnauthorized},
	{mesh.NeedsKey, http.StatusPreconditionRequired},
	{mesh.Unavailable, http.StatusServiceUnavailable},
	{mesh.TooLarge, http.StatusRequestEntityTooLarge},
}

// HTTPStatus returns the HTTP status that an error of the code is answered
// with; an unknown code is a fault of the server.
func HTTPStatus(code mesh.Code) int {
	for _, row := range statuses {
		if row.code == code {
			return row.status
		}
	}
	return http.StatusInternalServerError
}

// CodeOfStatus returns the code for an HTTP status that came without a
// Problem: from a proxy on the way, or from the HTTP library itself.
func CodeOfStatus(status int) mesh.Code {
	for _, row := range statuses {
		if row.status == status {
			return row.code
		}
	}
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests,
		status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		return mesh.Unavailable
	case status >= 400 && status < 500:
		return mesh.Invalid
	default:
		return mesh.Internal
	}
}
