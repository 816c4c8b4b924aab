package edit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"alps/checks/hdfs/edit"
)

// envWriter makes the test binary a writer of the file that it names.
const envWriter = "ALPS_TEST_EDIT"

func TestMain(m *testing.M) {
	if path := os.Getenv(envWriter); path != "" {
		os.Exit(writer(path))
	}
	os.Exit(m.Run())
}

// writer adds and removes one long line until it is killed.
func writer(path string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Fprintln(os.Stdout, "ready")
	for ctx.Err() == nil {
		_, err := edit.Apply(ctx, edit.Options{Path: path}, func(old []byte) ([]byte, error) {
			if string(old) == short {
				return []byte(short + long), nil
			}
			if string(old) != short+long {
				return nil, fmt.Errorf("the file holds %d bytes that nobody wrote", len(old))
			}
			return old, nil
		})
		if err == nil {
			_, err = edit.Apply(ctx, edit.Options{Path: path}, func([]byte) ([]byte, error) { return []byte(short), nil })
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

const short = "dn1\n"

var long = strings.Repeat("dn2:9866\n", 4000)

// TestKilledWriter kills writers at any moment: the file is always the one or
// the other, and the next writer is not in the way of what was left behind.
func TestKilledWriter(t *testing.T) {
	path := file(t, short)
	for i := range 25 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), envWriter+"="+path)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i*337%4000) * time.Microsecond) // any moment will do.
		err = errors.Join(cmd.Process.Kill(), ignoreExit(cmd.Wait()))
		if err != nil {
			t.Fatalf("%v: %s", err, &stderr)
		}
		if got := content(t, path); got != short && got != short+long {
			t.Fatalf("the file holds %d bytes that nobody wrote", len(got))
		}
	}
	// A change, whatever the file says now: only who changes it tidies up.
	for _, text := range []string{short, "dn3\n"} {
		if _, err := edit.Apply(t.Context(), edit.Options{Path: path}, func([]byte) ([]byte, error) { return []byte(text), nil }); err != nil {
			t.Error(err)
		}
	}
	if got := beside(t, path); len(got) > edit.Backups+2 {
		t.Errorf("beside it lie %q", got)
	}
}

func ignoreExit(err error) error {
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}
