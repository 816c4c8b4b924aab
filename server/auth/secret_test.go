package auth

import (
	"fmt"
	"strings"
	"testing"
)

func FuzzParseText(f *testing.F) {
	for range 3 {
		_, _, text := mint()
		f.Add(text)
	}
	f.Add("")
	f.Add("alps.")
	f.Add("alps.0123abcd.")
	f.Add("alps.0123ABCD." + strings.Repeat("A", 43))
	f.Add("alps.0123abcd." + strings.Repeat("_", 43))
	f.Fuzz(func(t *testing.T, text string) {
		id, s, err := parseText(text)
		if err != nil {
			return
		}
		again := textPrefix + id + "." + enc(s)
		if again != text {
			t.Errorf("%q is read, and has a second spelling %q", text, again)
		}
	})
}

func TestMintedTokensAreRead(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		id, s, text := mint()
		gotID, gotSecret, err := parseText(text)
		if err != nil || gotID != id || gotSecret != s {
			t.Fatalf("%q is read as %q, %v", text, gotID, err)
		}
		if !gotSecret.matches(s.hash()) || gotSecret.matches("") {
			t.Errorf("%q: its hash does not match it alone", id)
		}
		if seen[text] {
			t.Fatalf("%q was made twice", id)
		}
		seen[text] = true
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	_, s, _ := mint()
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, s); got != "(secret)" {
			t.Errorf("%s prints %q", format, got)
		}
	}
}
