package webhdfs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"alps/checks/hdfs/jmx"
)

// maxText is how much of a stranger's words is kept, in bytes.
const maxText = 300

// refusal makes an Error of an answer that is no success. Of what keeps a file
// from being written, nearly all has an exception of its own (no permission,
// quota, safe mode, standby); what a disk does to it is a plain IOException.
func refusal(addr string, status int, body []byte) error {
	if exception, message, ok := remote(body); ok {
		return &Error{Kind: Refused, Addr: addr, Exception: exception, Text: exception + ": " + message, Tried: exception == "IOException"}
	}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return &Error{Kind: jmx.Denied, Addr: addr, Text: fmt.Sprintf("it answers %d: it wants a login, or does not let us in", status)}
	case status/100 == 3:
		return &Error{Kind: jmx.Garbled, Addr: addr, Text: fmt.Sprintf("it answers %d and sends us elsewhere, where we do not go", status)}
	default:
		return &Error{Kind: jmx.Garbled, Addr: addr, Text: fmt.Sprintf("it answers %d", status)}
	}
}

// remote reads the reason that Hadoop gives, without the stack that it adds.
func remote(body []byte) (exception, message string, ok bool) {
	var answer struct {
		RemoteException struct {
			Exception string `json:"exception"`
			Message   string `json:"message"`
		}
	}
	if json.Unmarshal(body, &answer) != nil || answer.RemoteException.Exception == "" {
		return "", "", false
	}
	first, _, _ := strings.Cut(strings.TrimSpace(answer.RemoteException.Message), "\n")
	return line(answer.RemoteException.Exception), line(first), true
}

// line makes one short line of a text.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return strings.TrimSpace(s)
}
