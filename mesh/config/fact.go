package config

import "time"

// Fact says how an agent collects what it knows about its node.
type Fact struct {
	// How often facts are collected. Only what has changed is sent.
	Interval time.Duration `key:"interval,reload" min:"10s"`
}

func defaultFact() Fact {
	// Hardware and packages change by the day; five minutes keep the inventory
	// true while somebody works on a node.
	return Fact{Interval: 5 * time.Minute}
}
