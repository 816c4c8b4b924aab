package config

import _ "embed" // the samples are part of the binary.

// SampleAgent is a commented configuration of an agent, ready to be edited.
//
//go:embed sample/agent.hcl
var SampleAgent string

// SampleServer is a commented configuration of a server, ready to be edited.
//
//go:embed sample/server.hcl
var SampleServer string
