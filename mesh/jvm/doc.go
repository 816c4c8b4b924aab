// Package jvm describes one Java program, a daemon or a tool, as a child
// process of alps/mesh/proc: the real services that tests and `alps dev` start
// are written in Java, and need a JVM each that is small and starts quickly.
//
//	java, err := jvm.FindJava()
//	lib, err := jvm.Jars{Name: "hadoop", Env: "ALPS_HADOOP"}.Find()
//	p := jvm.Program{
//		Java: java, Jars: lib, Main: "org.example.Server", Heap: 64,
//		Classpath:  []string{"conf"},       // before the jars.
//		Properties: map[string]string{"x": "y"},
//	}
//	group.Start(p.Spec("server", "/var/lib/server"))
//
// The jars are fetched by tools/ready-jars, in the way of `make consul`: into
// the user's cache, and from there to bin/NAME/lib. Nothing here knows which
// service it is.
//
// The package must not import anything of ALPS but mesh and mesh/proc.
package jvm
