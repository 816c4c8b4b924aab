// Package sqlite keeps history in one SQLite file: jobs, enrolments, tokens,
// the audit. There is one file of code for each noun, and each implements the
// storage interface that the noun's own package declares and passes its suite.
//
//	db, err := sqlite.Open("/var/lib/alps/history.db")
//	…
//	defer db.Close()
//	jobs, err := job.New(job.Options{History: db, …})
//
// The file has a write-ahead log and is synced at every commit: what a method
// has stored survives a kill and a power cut. One connection writes; what
// several callers want written while another transaction is synced goes into
// one transaction, each part of it failing alone. Readers see a consistent
// state and never wait for the writer.
//
// The schema is the numbered files in migrations, each applied once, in its
// own transaction. A file that a newer ALPS has written is refused. To change
// the schema add a file with the next number and never change an old one.
//
// It imports the contracts of the nouns whose storage it is, and no other
// package of the server.
package sqlite
