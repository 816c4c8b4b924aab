package config

// Store is where the server keeps its history.
type Store struct {
	// The SQLite file.
	Path string `key:"path" under:"alps.db"`
}
