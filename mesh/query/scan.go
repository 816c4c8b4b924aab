package query

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The keywords, as they are printed.
const (
	kwAll = "all"
	kwAnd = "and"
	kwNot = "not"
	kwOr  = "or"
)

func isKeyword(s string) bool {
	for _, k := range []string{kwAll, kwAnd, kwNot, kwOr} {
		if strings.EqualFold(s, k) {
			return true
		}
	}
	return false
}

// isWordRune reports whether r may stand in a value without quotes.
func isWordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune("_-.:/@%+", r)
}

// isListRune reports whether r may stand in a list of names.
func isListRune(r rune) bool { return isWordRune(r) || strings.ContainsRune(",[]", r) }

// span returns the length of the longest beginning of s that in accepts.
func span(s string, in func(rune) bool) int {
	n := strings.IndexFunc(s, func(r rune) bool { return !in(r) })
	if n < 0 {
		return len(s)
	}
	return n
}

// isField reports whether s can be the name of a field.
func isField(s string) bool {
	for i, r := range s {
		switch {
		case unicode.IsLetter(r) || r == '_':
		case i > 0 && (unicode.IsDigit(r) || unicode.IsMark(r) || r == '-' || r == '.'):
		default:
			return false
		}
	}
	return s != "" && !isKeyword(s)
}

// bareWord reports whether v reads as a value without quotes.
func bareWord(v string) bool {
	return v != "" && span(v, isWordRune) == len(v) && !isKeyword(v)
}

// bareRegexp reports whether v reads as a regular expression without quotes.
// One that begins with "=" would look like another language's operator.
func bareRegexp(v string) bool {
	return v != "" && v[0] != '"' && v[0] != '=' && regexpLen(v) == len(v) && !isKeyword(v)
}

// regexpLen returns the length of the unquoted expression that s begins with:
// up to white space, or to a closing parenthesis that it did not open.
func regexpLen(s string) int {
	depth, escaped := 0, false
	for i, r := range s {
		switch {
		case escaped:
			escaped = false
		case unicode.IsSpace(r):
			return i
		case r == '\\':
			escaped = true
		case r == '(':
			depth++
		case r == ')' && depth == 0:
			return i
		case r == ')':
			depth--
		}
	}
	return len(s)
}

// unquote reads the quoted text that s begins with. It returns the text and the
// length with both quotes, or ok = false if the second is missing.
func unquote(s string) (text string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i + 1, true
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}

// firstRune returns the first rune of s as text; s is not empty.
func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}
