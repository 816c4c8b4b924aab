package proc

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// InNetns calls do on a thread that is in the network namespace of the file
// path, "" for ours, and returns what do returns. A child that do starts
// inherits the namespace of its thread; a goroutine that it starts does not.
func InNetns(path string, do func() error) error {
	if path == "" {
		return do()
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime ends the thread with the goroutine, so that
		// no other goroutine finds itself in a foreign network.
		runtime.LockOSThread()
		if err := enter(path); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}

// enter moves the calling thread into a network namespace.
func enter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace %s: %w", path, err)
	}
	return nil
}

// NewNetns makes a network namespace that lives as long as it is mounted on the
// file path, which must exist. It needs root.
func NewNetns(path string) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as in InNetns.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			done <- fmt.Errorf("keep the network namespace at %s: %w", path, err)
			return
		}
		done <- nil
	}()
	return <-done
}
