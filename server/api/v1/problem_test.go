package v1_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"alps/mesh"
	v1 "alps/server/api/v1"
)

// TestEveryCodeHasAStatus holds the table against the codes that the OpenAPI
// document names.
func TestEveryCodeHasAStatus(t *testing.T) {
	field, ok := reflect.TypeFor[v1.Problem]().FieldByName("Code")
	if !ok {
		t.Fatal("a Problem has no code")
	}
	for name := range strings.SplitSeq(field.Tag.Get("enum"), ",") {
		code := mesh.Code(name)
		status := v1.HTTPStatus(code)
		if (status == http.StatusInternalServerError) != (code == mesh.Internal) {
			t.Errorf("%s is answered with %d", code, status)
		}
		// no_targets shares its status with invalid, and says more.
		if back := v1.CodeOfStatus(status); back != code && code != mesh.NoTargets {
			t.Errorf("%s is answered with %d, which reads as %s", code, status, back)
		}
	}
	if got := v1.HTTPStatus("new"); got != http.StatusInternalServerError {
		t.Errorf("an unknown code is answered with %d, want 500", got)
	}
}

func TestCodeOfAForeignStatus(t *testing.T) {
	for status, want := range map[int]mesh.Code{
		301: mesh.Internal,
		400: mesh.Invalid,
		405: mesh.Invalid,
		408: mesh.Unavailable,
		429: mesh.Unavailable,
		500: mesh.Internal,
		501: mesh.Internal,
		502: mesh.Unavailable,
		504: mesh.Unavailable,
	} {
		if got := v1.CodeOfStatus(status); got != want {
			t.Errorf("%d reads as %s, want %s", status, got, want)
		}
	}
}

func TestProblemErr(t *testing.T) {
	p := v1.Problem{Code: mesh.Conflict, Detail: "it is so", Hint: "do that"}
	if e := p.Err(); e.Code != mesh.Conflict || e.Message != "it is so" || e.Hint != "do that" {
		t.Errorf("got %+v", e)
	}
}
