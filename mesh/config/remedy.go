package config

// The values of Remedy.Mode.
const (
	RemedyModeAuto    = "auto"    // policies do what they say.
	RemedyModeObserve = "observe" // policies say what they would do.
	RemedyModeOff     = "off"     // policies are not looked at.
)

// Remedy says what policies may do.
type Remedy struct {
	// The library: the directory of the scripts that policies name.
	Scripts string `key:"scripts,reload" under:"scripts"`

	// An upper bound for the mode of every policy. auto leaves each its own,
	// observe has them all only say what they would do, off stops them.
	Mode string `key:"mode,reload" oneof:"auto observe off"`
}

func defaultRemedy() Remedy {
	// A policy that says nothing observes; one that says auto was meant to.
	return Remedy{Mode: RemedyModeAuto}
}
