package notifytest

import "testing"

func TestMemory(t *testing.T) {
	TestOutbox(t, func(*testing.T) Store { return new(Outbox) })
}
