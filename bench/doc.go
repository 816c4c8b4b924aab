// Command bench measures ALPS beside its peers: both in one run, on one
// machine, so that what counts is the ratio and not the machine.
//
//	make bench                 everything, about half an hour
//	go run ./bench exec        alps exec beside consul exec, 5 and 21 nodes
//	go run ./bench agent       memory and CPU of an idle agent
//	go run ./bench link        1,000 agents on one server, beside a bare TLS server
//	go run ./bench loop        from a fault to DNS and to a webhook, beside Consul and Prometheus
//	go run ./bench checks      agents with 0, 20 and 200 checks, beside Consul's own
//	go run ./bench dns         names on one core, beside Consul (needs dnsperf)
//	go run ./bench api         lists of 1,000 and 5,000 nodes, beside Consul
//	go run ./bench remedy      from a failed disk of HDFS to the proof, as root (needs make hadoop)
//
// It drives the built bin/alps and a real Consul as a user would, through
// `alps dev`, and reads what the kernel says of the processes. The thousand
// agents of link are links in this process, to a real server. Nothing
// here is a test: no figure makes it fail. README.md says what each figure
// means and what it was when it was last written down.
package main
