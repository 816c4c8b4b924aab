package main

import (
	_ "embed"
	"fmt"
	"strings"

	"alps/mesh/config"
)

// definitionsIntro is what stands above the tables.
//
//go:embed definitions.md
var definitionsIntro string

// definitions is reference for the keys of definitions.
func definitions(dir string) (string, error) {
	docs, err := readComments(dir)
	if err != nil {
		return "", err
	}
	w := &writer{docs: docs}
	w.WriteString(definitionsIntro)
	last := ""
	for _, k := range config.DescribeDefinitions() {
		kind, key, _ := strings.Cut(k.Path, ".")
		if kind != last {
			last = kind
			// "checkKeys is a check: what …" reads "A check: what …" here.
			_, text, _ := strings.Cut(w.doc(k.Struct), " is ")
			fmt.Fprintf(w, "\n## %s\n\n%s\n\n| key | type | default | |\n|---|---|---|---|\n", kind, sentence(text))
		}
		w.key(key, k)
	}
	if len(w.missing) > 0 {
		return "", fmt.Errorf("no comment on %s", strings.Join(w.missing, ", "))
	}
	return w.String(), nil
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
