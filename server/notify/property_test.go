package notify_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"alps/server/notify"
	"alps/server/notify/notifytest"
)

// TestOnceAndInOrder lets receivers fail and be slow, the server restart and
// the lease come and go. In the end every delivery was taken exactly once, and
// those of one incident in their order.
func TestOnceAndInOrder(t *testing.T) {
	type op struct {
		What     string
		Incident int
		Receiver string
		Seconds  int
	}
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) op {
			return op{
				What: rapid.SampledFrom([]string{
					"put", "put", "put", "put", "pass", "down", "up", "slow", "flaky", "restart", "lapse", "lead", "term",
				}).Draw(rt, "what"),
				Incident: rapid.IntRange(1, 3).Draw(rt, "incident"),
				Receiver: rapid.SampledFrom([]string{"ops", "boss"}).Draw(rt, "receiver"),
				Seconds:  rapid.SampledFrom([]int{0, 1, 3, 30}).Draw(rt, "seconds"),
			}
		}), 1, 40).Draw(rt, "ops")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(b *testing.T) {
			r := &rig{t: b, outbox: new(notifytest.Outbox), ops: new(phone), boss: new(phone), term: 1, leads: true}
			r.start()
			defer func() { r.stop() }()
			luck, term, all := rand.New(rand.NewPCG(seed, 0)), uint64(1), 0
			answers := map[string]func(context.Context, notify.Message) error{
				"down": down,
				"slow": func(context.Context, notify.Message) error { time.Sleep(time.Second); return nil },
			}
			for _, o := range ops {
				phone := map[string]*phone{"ops": r.ops, "boss": r.boss}[o.Receiver]
				switch o.What {
				case "put":
					d := notifytest.Delivery(o.Incident, o.Receiver, notify.KindFiring)
					d.At = time.Now()
					r.outbox.Put(b, term, d)
					r.engine.Kick()
					all++
				case "down", "slow", "up":
					phone.set(answers[o.What])
				case "flaky":
					results := make([]bool, 64)
					for i := range results {
						results[i] = luck.IntN(2) == 0
					}
					n := 0
					phone.set(func(context.Context, notify.Message) error {
						phone.mu.Lock()
						defer phone.mu.Unlock()
						if n++; results[n%len(results)] {
							return errors.New("it answers 503")
						}
						return nil
					})
				case "restart":
					r.stop()
					r.start()
				case "lapse":
					r.lease(term, false)
				case "term": // another one has led meanwhile.
					term += 2
					r.lease(term, true)
				case "lead":
					r.lease(term, true)
				}
				pass(time.Duration(o.Seconds) * time.Second)
			}
			r.ops.set(nil)
			r.boss.set(nil)
			r.lease(term, true)
			pass(10 * time.Minute)
			taken := append(r.ops.got(), r.boss.got()...)
			if len(taken) != all || len(r.outbox.Settled()) != all {
				b.Errorf("%d were taken and %d settled of %d: %q", len(taken), len(r.outbox.Settled()), all, taken)
			}
			for _, p := range []*phone{r.ops, r.boss} {
				last := make(map[string]int)
				for _, id := range p.got() {
					incident, number, _ := strings.Cut(id, "/")
					n, err := strconv.Atoi(number)
					if err != nil || n <= last[incident] {
						b.Errorf("%s came again or too late: %q", id, p.got())
					}
					last[incident] = n
				}
			}
			if b.Failed() {
				rt.Errorf("see above")
			}
		})
	})
}
