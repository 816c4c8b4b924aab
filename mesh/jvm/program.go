package jvm

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"alps/mesh/proc"
)

// Program is a Java program that can be started any number of times.
type Program struct {
	Java string // the path of java.
	Jars string // the directory of its jars.
	Main string // the class.
	Args []string
	// Heap is the most that the heap may take, in MiB. Zero leaves it to Java.
	Heap int
	// Classpath is what is looked through before the jars: the directories of
	// the configuration.
	Classpath  []string
	Properties map[string]string
	// Opens are packages of Java itself that the program reaches into, as
	// java.base/java.lang.
	Opens []string
	// Hosts is a file in the manner of /etc/hosts that the program takes its
	// names from, and nothing else: it must name the machine itself too. Empty
	// means that names come from where they always do.
	Hosts string
	Env   []string // added to our own environment.
	// Netns is the file of the network namespace to live in; empty means ours.
	Netns string
}

// maxMetaspace bounds, in MiB, what the classes take beside the heap.
const maxMetaspace = 128

// Command is what to execute. The settings make a JVM that starts quickly and
// stays small at the price of its top speed: a compiler that does not take
// pains, a collector without threads of its own, no IPv6.
func (p Program) Command() []string {
	words := []string{
		p.Java, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", fmt.Sprintf("-XX:MaxMetaspaceSize=%dm", maxMetaspace),
		"-Djava.net.preferIPv4Stack=true",
	}
	if p.Heap > 0 {
		words = append(words, fmt.Sprintf("-Xmx%dm", p.Heap))
	}
	if p.Hosts != "" {
		// A name that was missing must be found as soon as it is written.
		words = append(words, "-Djdk.net.hosts.file="+p.Hosts, "-Dsun.net.inetaddr.ttl=1", "-Dsun.net.inetaddr.negative.ttl=0")
	}
	for _, name := range p.Opens {
		words = append(words, "--add-opens="+name+"=ALL-UNNAMED")
	}
	for _, key := range slices.Sorted(maps.Keys(p.Properties)) {
		words = append(words, "-D"+key+"="+p.Properties[key])
	}
	path := append(slices.Clone(p.Classpath), filepath.Join(p.Jars, "*"))
	words = append(words, "-cp", strings.Join(path, ":"), p.Main)
	return append(words, p.Args...)
}

// Spec is the program as a child process called name, which works in dir and
// logs to dir/name.log.
func (p Program) Spec(name, dir string) proc.Spec {
	words := p.Command()
	return proc.Spec{
		Name: name, Path: words[0], Args: words[1:], Env: append(os.Environ(), p.Env...),
		Dir: dir, Log: filepath.Join(dir, name+".log"), Netns: p.Netns,
	}
}
