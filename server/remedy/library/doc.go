// Package library reads the directory of scripts that policies name:
//
//	scripts/
//	  restart-web/
//	    run            the program that travels to the node
//	    manifest.hcl   what it does, changes, takes and needs
//
//	lib, err := library.Load("/etc/alps/scripts")
//	script, err := lib.Script("restart-web")
//
// What a manifest may say is a matter of mesh/config, which reads it as every
// other definition, from HCL or from its JSON twin manifest.json:
//
//	description = "Restarts the service web on the node."
//	changes     = "The process is ended and started again."
//	timeout     = "30s"
//	run_as      = "web"
//
//	parameter "control" {
//	  description = "A program that restarts web."
//	  required    = false
//	}
//
// This package owns the rest: which directories are scripts, how large and of
// which mode their files may be, and whether the arguments of a policy fit.
//
// What was read is kept in memory: a file that changes later changes nothing
// until the next Load, so that a run of a policy is what was looked at when the
// policy was loaded. The package imports mesh and mesh/config.
package library
