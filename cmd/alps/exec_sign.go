package main

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"alps/mesh"
	"alps/mesh/dispatch"
	"alps/mesh/sign"
	v1 "alps/server/api/v1"
)

// Environment variables that name an operator's own key and grant.
const (
	envKey   = "ALPS_KEY"
	envGrant = "ALPS_GRANT"
)

// operatorKey names the files of an operator's key and its grant.
type operatorKey struct{ key, grant string }

func (k *operatorKey) flags(fl *pflag.FlagSet) {
	fl.StringVar(&k.key, "key", "", "file with an operator's key to sign with (env "+envKey+")")
	fl.StringVar(&k.grant, "grant", "", "file with the grant of that key (env "+envGrant+")")
}

// seal signs a draft.
func (k operatorKey) seal(d *v1.Draft) (sign.Envelope, error) {
	keyFile, grantFile := first(k.key, os.Getenv(envKey)), first(k.grant, os.Getenv(envGrant))
	if keyFile == "" || grantFile == "" {
		return sign.Envelope{}, mesh.Errorf(mesh.NeedsKey, "%s, and no key of yours is given", d.Why).
			WithHint("--key FILE --grant FILE, or set %s and %s; alps keys grant --help makes them", envKey, envGrant)
	}
	key, err := readPrivateKey(keyFile)
	if err != nil {
		return sign.Envelope{}, err
	}
	doc, err := os.ReadFile(grantFile)
	if err != nil {
		return sign.Envelope{}, mesh.Errorf(mesh.Invalid, "read the grant: %w", err)
	}
	grant, err := sign.DecodeEnvelope(doc)
	if err != nil {
		return sign.Envelope{}, mesh.Errorf(mesh.Invalid, "read the grant %s: %w", grantFile, err)
	}
	return key.Seal(d.Type, d.Payload, &grant), nil
}

// sameSteer checks that the bytes to be signed steer the job that was meant.
func sameSteer(id mesh.JobID, payload []byte) error {
	c, err := dispatch.DecodeCtl(payload)
	if err != nil {
		return mesh.Errorf(mesh.Denied, "the server's draft cannot be read: %w", err)
	}
	if c.Job != id {
		return mesh.Errorf(mesh.Denied, "the server's draft is about job %s, not %s; nothing was signed", c.Job, id)
	}
	return nil
}

// sameJob checks that the bytes to be signed are the job that was asked for.
// Which nodes an expression means is the server's to say: there the scope of
// the grant is the limit.
func sameJob(req v1.JobRequest, draft []byte) error {
	var s mesh.Spec
	if err := json.Unmarshal(draft, &s); err != nil {
		return mesh.Errorf(mesh.Denied, "the server's draft cannot be read: %w", err)
	}
	var differs string
	switch {
	case !slices.Equal(s.Command, req.Command):
		differs = "command"
	case (s.Script == nil) != (req.Script == nil),
		s.Script != nil && s.Script.SHA256 != mesh.Digest(req.Script.Body):
		differs = "script"
	case !slices.Equal(s.Args, req.Args):
		differs = "arguments"
	case !maps.Equal(s.Env, req.Env):
		differs = "environment"
	case s.RunAs != req.RunAs:
		differs = "user"
	case s.Idempotent != req.Idempotent:
		differs = "idempotent flag"
	case req.Timeout != 0 && s.Timeout != req.Timeout, req.Grace != 0 && s.Grace != req.Grace:
		differs = "time limit"
	case req.ExpiresIn != 0 && s.Expires-s.NotBefore > int64(req.ExpiresIn)+int64(mesh.MaxSkew/time.Second):
		differs = "expiry"
	}
	if differs != "" {
		return mesh.Errorf(mesh.Denied, "the server's draft is not the job that was asked for: its %s differs; nothing was signed", differs).
			WithHint("do not trust this server before you know why")
	}
	return nil
}
