package edit

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReplaced says who wins when a person saves in the last moment: right
// before the exchange, or before it and again after it.
func TestReplaced(t *testing.T) {
	const read, ours = "read", "ours"
	for name, tt := range map[string]struct {
		gone, there string // what the exchange took away, and what stands there.
		done        bool
		want        string
	}{
		"nobody":           {read, ours, true, ours},
		"before":           {"saved", ours, false, "saved"},
		"before and after": {"saved", "saved again", false, "saved again"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			temp, path := filepath.Join(dir, "temp"), filepath.Join(dir, "path")
			for file, text := range map[string]string{temp: tt.gone, path: tt.there} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			done, err := replaced(temp, path, content{data: []byte(read)}, []byte(ours))
			if err != nil || done != tt.done {
				t.Errorf("got %v, %v; want %v", done, err, tt.done)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != tt.want {
				t.Errorf("there stands %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
