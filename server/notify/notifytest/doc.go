// Package notifytest holds what tests around server/notify need: an outbox in
// memory, the suite that every outbox must pass, and the suite that every
// Sender must pass.
package notifytest
