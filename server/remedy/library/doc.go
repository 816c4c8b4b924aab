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
// A manifest holds texts, true or false, and one block for each parameter, in
// the order in which the script takes them:
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
// That is the part of HCL that it may use: no expressions, no templates, no
// here-documents. description, changes and timeout are required. Reading is
// strict: what is not known, or stands twice, is an error with its line.
//
// What was read is kept in memory: a file that changes later changes nothing
// until the next Load, so that a run of a policy is what was looked at when the
// policy was loaded. The package imports mesh and the standard library.
package library
