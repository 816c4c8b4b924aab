package sqlite

import (
	"context"
	"database/sql"
	"slices"

	"alps/mesh"
)

// PutOutput implements job.Outputs.
func (db *DB) PutOutput(ctx context.Context, digest string, body []byte) error {
	return db.write(ctx, "keep an output", func(ctx context.Context, tx *sql.Tx) error { return putOutput(ctx, tx, digest, body) })
}

func putOutput(ctx context.Context, tx *sql.Tx, digest string, body []byte) error {
	if body == nil {
		body = []byte{} // nothing is a body as well, and not NULL.
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO outputs (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING", digest, body); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM wanted WHERE digest = ?", digest)
	return err
}

// Output implements job.Outputs.
func (db *DB) Output(ctx context.Context, digest string) ([]byte, error) {
	var body []byte
	err := db.readers.QueryRowContext(ctx, "SELECT body FROM outputs WHERE digest = ?", digest).Scan(&body)
	return body, db.failure("find the output "+digest, err)
}

// KnownOutputs implements job.Outputs.
func (db *DB) KnownOutputs(ctx context.Context, digests []string) ([]string, error) {
	var out []string
	for chunk := range slices.Chunk(digests, 500) {
		args := make([]any, len(chunk))
		for i, d := range chunk {
			args[i] = d
		}
		list, err := query(ctx, db, text, "SELECT digest FROM outputs WHERE digest IN ("+marks(len(chunk))+")", args...)
		if err != nil {
			return nil, db.failure("look for outputs", err)
		}
		out = append(out, list...)
	}
	return out, nil
}

// Wanted implements job.Outputs.
func (db *DB) Wanted(ctx context.Context, node mesh.NodeID) ([]string, error) {
	list, err := query(ctx, db, text, "SELECT digest FROM wanted WHERE node = ?", node)
	return list, db.failure("list what a node is to be asked for", err)
}
