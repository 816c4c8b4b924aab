package webhdfs

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzRemote: whatever a stranger answers, it is one short line of text.
func FuzzRemote(f *testing.F) {
	for _, s := range []string{
		`{"RemoteException":{"exception":"SafeModeException","javaClassName":"x","message":"Cannot create file/x. Name node is in safe mode.\nIt was turned on manually.\n\tat org.apache"}}`,
		`{"RemoteException":{"exception":"\u0000\u001b[2J","message":"\ud800"}}`, `{"RemoteException":[]}`, `{`, "<html>", "\xff", `{"boolean":true}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		exception, message, ok := remote(body)
		if !ok && exception+message != "" {
			t.Errorf("it has none, and says %q, %q", exception, message)
		}
		for _, s := range []string{exception, message} {
			if len(s) > maxText+len("…") || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("it says %q", s)
			}
		}
		if err := refusal("a:1", 403, body); !strings.HasPrefix(err.Error(), "WebHDFS at a:1: ") {
			t.Errorf("got %v", err)
		}
	})
}
