package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// AdminFile is the file, in the data directory, that holds the token of the
// administrator that Bootstrap makes.
const AdminFile = "admin.token"

// Bootstrap makes sure that somebody can manage the estate: when no token is
// an unexpired administrator over every node, it makes one and writes its
// text to AdminFile in dir, mode 0600. It returns the file's path when it made
// one, and "" when there was no need. It may be called at every start.
func (t *Tokens) Bootstrap(ctx context.Context, dir string) (string, error) {
	toks, err := t.store.Tokens(ctx)
	if err != nil {
		return "", fmt.Errorf("look for an administrator's token: %w", err)
	}
	now := time.Now()
	for i := range toks {
		if governs(&toks[i], now) {
			return "", nil
		}
	}
	r := Request{Name: "admin", Role: Admin, CreatedBy: "first start"}
	tok, err := r.token(now)
	if err != nil {
		return "", err
	}
	id, s, text := mint()
	tok.ID, tok.SecretHash = id, s.hash()
	// The file comes before the record: a crash in between leaves a text that
	// nobody knows, and the next start writes another. The other way round it
	// would leave an administrator whose text nobody has.
	path := filepath.Join(dir, AdminFile)
	if err := writeSecret(path, text+"\n"); err != nil {
		return "", fmt.Errorf("write the administrator's token: %w", err)
	}
	if err := t.store.SaveToken(ctx, tok); err != nil {
		return "", fmt.Errorf("save the administrator's token: %w", err)
	}
	return path, nil
}

// writeSecret replaces path at once, readable by the owner alone from its
// first byte on.
func writeSecret(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // made with mode 0600.
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone after the rename; on the way out of an error nothing can be done.
	if _, err := f.WriteString(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
