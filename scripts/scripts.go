// Package scripts is the shipped script library: files, and the little Go that
// carries them inside the binary for `alps dev` and for tests. A server reads
// its library from a directory (package server/remedy/library); whoever wants
// the shipped one there writes it:
//
//	err := os.CopyFS("/var/lib/alps/scripts", scripts.FS())
//
// It imports nothing but the standard library.
package scripts

import (
	"embed"
	"io/fs"
	"path"
)

//go:embed */run */manifest.hcl
var files embed.FS

// FS returns the library as files: <name>/run, which is executable, and
// <name>/manifest.hcl.
func FS() fs.FS { return library{files} }

// A library gives back what embedding takes away: that a script can be run.
type library struct{ embed.FS }

// Open implements fs.FS.
func (l library) Open(name string) (fs.File, error) {
	f, err := l.FS.Open(name)
	if err != nil || path.Base(name) != "run" {
		return f, err
	}
	return program{f}, nil
}

type program struct{ fs.File }

func (p program) Stat() (fs.FileInfo, error) {
	info, err := p.File.Stat()
	return executable{info}, err
}

type executable struct{ fs.FileInfo }

func (executable) Mode() fs.FileMode { return 0o555 }
