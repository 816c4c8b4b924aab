// Command bench measures ALPS beside its peers: both in one run, on one
// machine, so that what counts is the ratio and not the machine.
//
//	make bench                 everything, about twenty minutes
//	go run ./bench exec        alps exec beside consul exec, 5 and 21 nodes
//	go run ./bench agent       memory and CPU of an idle agent
//	go run ./bench link        1,000 agents on one server, beside a bare TLS server
//
// It drives the built bin/alps and a real Consul as a user would, through
// `alps dev`, and reads what the kernel says of the processes. The thousand
// agents of the last one are links in this process, to a real server. Nothing
// here is a test: no figure makes it fail. README.md says what each figure
// means and what it was when it was last written down.
package main
