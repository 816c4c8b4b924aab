package loop_test

import (
	"fmt"
	"os"
	"testing"

	"alps/cmd/alps/internal/loop"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := loop.CleanUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
