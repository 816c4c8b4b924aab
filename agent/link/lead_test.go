package link

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"alps/mesh"
	"alps/mesh/frame"
)

func TestLeadRefusesOnlyWhatIsBehind(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	type hello struct {
		term  uint64
		after time.Duration
		ok    bool
	}
	for name, tt := range map[string]struct {
		hellos []hello
		want   uint64
	}{
		"terms grow":                     {[]hello{{4, 0, true}, {4, 0, true}, {5, 0, true}}, 5},
		"an old one":                     {[]hello{{5, 0, true}, {4, 9 * time.Minute, false}}, 5},
		"no lock":                        {[]hello{{0, 0, true}, {5, 0, true}, {0, 0, true}, {4, time.Minute, false}}, 5},
		"a restored Consul, in the end":  {[]hello{{5, 0, true}, {1, 9 * time.Minute, false}, {1, time.Minute, true}, {2, 0, true}}, 2},
		"who is refused does not count":  {[]hello{{5, 0, true}, {4, 6 * time.Minute, false}, {4, 6 * time.Minute, true}}, 4},
		"a clock that was set back":      {[]hello{{5, 0, true}, {4, -time.Minute, false}, {4, -time.Hour, true}}, 4},
		"it is counted from the newest":  {[]hello{{5, 0, true}, {5, 9 * time.Minute, true}, {4, 9 * time.Minute, false}}, 5},
		"no lock does not refresh it":    {[]hello{{5, 0, true}, {0, 9 * time.Minute, true}, {4, time.Minute, true}}, 4},
		"nothing is remembered at first": {[]hello{{1, 0, true}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir, now := t.TempDir(), noon
			for i, h := range tt.hellos {
				l := readLead(dir) // as after a restart each time.
				now = now.Add(h.after)
				err := l.take("s1", h.term, now)
				if (err == nil) != h.ok {
					t.Fatalf("hello %d of term %d: %v, want ok %v", i, h.term, err, h.ok)
				}
				if err != nil && (mesh.CodeOf(err) != mesh.Unavailable || !strings.Contains(err.Error(), `"s1" is behind`)) {
					t.Errorf("hello %d: %v", i, err)
				}
				if err := l.save(); err != nil {
					t.Fatal(err)
				}
			}
			if got := readLead(dir).highest(); got != tt.want {
				t.Errorf("remembered term %d, want %d", got, tt.want)
			}
		})
	}
}

func TestLeadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, leadFile)
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := readLead(dir)
	if got := l.highest(); got != 0 {
		t.Errorf("term %d from nonsense", got)
	}
	now := time.Now()
	if err := l.take("s1", 7, now); err != nil {
		t.Fatal(err)
	}
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  bool // it is written.
	}{{30 * time.Second, false}, {2 * time.Minute, true}} {
		l.seenUntil(now.Add(step.after))
		if err := l.save(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b) != string(before); got != step.want {
			t.Errorf("%s later it is written: %v, want %v", step.after, got, step.want)
		}
	}
}

// TestServerBehind goes on to another server when one is behind.
func TestServerBehind(t *testing.T) {
	terms := make(chan uint64, 2)
	terms <- 5
	terms <- 4
	l := script(t, func(c net.Conn, r *frame.Reader) {
		if _, err := r.Next(); err != nil {
			return
		}
		term := uint64(4)
		select {
		case term = <-terms:
		default:
		}
		m, err := frame.JSON(frame.HelloOK, 0, frame.HelloOKPayload{Version: frame.Version, Server: "s1", Time: time.Now(), Lead: term})
		if err != nil {
			return
		}
		_ = frame.Write(c, m)
		if term == 5 {
			return // it hangs up, and comes back without its memory.
		}
		_, _ = r.Next()
	})
	eventually(t, "the server is refused", func() bool {
		st := l.Status()
		return st.LastError != nil && strings.Contains(st.LastError.Message, "knows of term 4, and term 5 has begun")
	})
	if st := l.Status(); st.Connected || st.Lead != 5 || st.LastError.Code != mesh.Unavailable || st.LastError.Hint == "" {
		t.Errorf("status = %+v, want no link and term 5", st)
	}
}
