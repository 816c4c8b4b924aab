// Package nodeset reads and writes lists of node names in the short form that
// users of ClusterShell and pdsh know.
//
//	bj-e-hadoop01-11-[203-213],db[01-10,15]
//	└─────── a term ─────────┘ └─ another ─┘
//
// The grammar, in EBNF:
//
//	list    = term { separator term } .
//	term    = piece { piece } .
//	piece   = text | "[" range { "," range } "]" .
//	range   = number [ "-" number [ "/" step ] ] .
//
// A separator is a comma, white space, or both, so a column of names copied
// from a hosts file is a list as well. Text is letters, digits, "-", "_" and
// ".". A term may hold several brackets: r[1-2]n[1-3] names six nodes.
//
// Leading zeros are part of a name: n1 and n01 are two nodes. A range writes
// each of its numbers with at least as many digits as its first one has, so
// [08-11] is 08, 09, 10, 11 and [98-101] is 98, 99, 100, 101.
//
// Folding goes the other way, in one dimension. The last number of a name that
// tells it from others becomes a range; the text around it stays:
//
//	Fold([]string{"n3", "n1", "n2", "db"})  →  "db,n[1-3]"
//
// A list names at most MaxNames nodes. Parse checks that before it expands
// anything, so [1-999999999] costs an error and no memory.
//
// The package is pure: it imports the standard library and package mesh, does
// no I/O, keeps no state and does not log. Its values may be read by many
// goroutines at once.
package nodeset
