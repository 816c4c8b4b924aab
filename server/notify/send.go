package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"alps/mesh"
)

// send is one attempt to bring a delivery home, in a goroutine of its own.
type send struct {
	engine *Engine
	lane   string
	target *target
	d      Delivery
	skip   bool // nobody needs it any more.
	term   uint64
}

// landing is what came of a send.
type landing struct {
	lane    string
	d       Delivery      // with the number of tries and when the next may be.
	settled bool          // it is done with.
	asked   bool          // the receiver was asked,
	after   time.Duration // wants to be left alone for so long,
	// and has answered, be it with a refusal.
	answered bool
}

// run sends, records and says what has come of it. It returns soon after ctx
// ends; what the receiver has taken is recorded nevertheless.
func (s *send) run(ctx context.Context) landing {
	out := landing{lane: s.lane, d: s.d}
	if s.skip || s.d.Kind == KindResolved && !s.target.Resolved {
		out.settled = s.record(ctx, &out, Outcome{State: Unwanted})
		return out
	}
	if time.Since(s.d.At) > keepFor {
		out.settled = s.record(ctx, &out, s.lost(Expired, errors.New("nobody took it for a day")))
		return out
	}
	if _, leads := s.engine.o.Lease(); !leads && !s.d.Unleased {
		return out // it was lost since; whoever leads next sends it.
	}
	err := s.tell(ctx)
	if err != nil && ctx.Err() != nil {
		return out // we are stopping: nothing is known of the receiver.
	}
	out.asked, out.answered = true, err == nil || IsRefused(err)
	switch {
	case err == nil:
		out.settled = s.record(ctx, &out, Outcome{State: Delivered, Event: s.line(mesh.EventNotified,
			fmt.Sprintf("%s was told: %s", s.d.Receiver, s.d.Kind))})
	case IsRefused(err):
		out.settled = s.record(ctx, &out, s.lost(Refused, err))
	default:
		out.after = s.again(ctx, &out, err)
	}
	return out
}

func (s *send) tell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.target.Timeout)
	defer cancel()
	return s.target.sender.Send(ctx, Message{Delivery: s.d, URL: s.engine.o.URL(s.d.Incident.ID)})
}

// lost is the outcome of what will not arrive.
func (s *send) lost(state State, err error) Outcome {
	s.engine.log.Warn("a receiver was not told", "receiver", s.d.Receiver, "incident", s.d.Incident.ID, "error", err)
	return Outcome{State: state, Error: err.Error(), Event: s.line(mesh.EventNotifyFailed,
		fmt.Sprintf("%s was not told: %v; it is not tried again", s.d.Receiver, err))}
}

// again records that the delivery must be tried again, and returns how long
// the receiver wants to be left alone.
func (s *send) again(ctx context.Context, out *landing, err error) time.Duration {
	var asked time.Duration
	if p, ok := errors.AsType[*postponed](err); ok {
		asked = min(p.after, maxAsked)
	}
	out.d.Tries++
	out.d.Next = time.Now().Add(max(jitter(pause(out.d.Tries, maxPause)), asked))
	o := Outcome{State: Waiting, Tries: out.d.Tries, Next: out.d.Next, Error: err.Error()}
	if out.d.Tries == 1 {
		s.engine.log.Warn("a receiver cannot be told; it is tried again for a day", "receiver", s.d.Receiver,
			"incident", s.d.Incident.ID, "error", err)
		o.Event = s.line(mesh.EventNotifyFailed, fmt.Sprintf("%s was not told yet: %v", s.d.Receiver, err))
	}
	s.record(ctx, out, o)
	return asked
}

func (s *send) line(kind mesh.IncidentEventKind, text string) *mesh.IncidentEvent {
	return &mesh.IncidentEvent{
		At: time.Now().UTC().Truncate(time.Millisecond), Kind: kind, Actor: "alps", Text: text,
		Data: map[string]string{"receiver": s.d.Receiver, "delivery": s.d.ID, "kind": string(s.d.Kind)},
	}
}

// record stores an outcome, and tries until it is stored, ctx ends or another
// server leads: what was taken and is not recorded would be sent again. It
// reports whether the delivery need not be looked at any more.
func (s *send) record(ctx context.Context, out *landing, o Outcome) bool {
	o.Seq, o.At = s.d.Seq, time.Now()
	if o.State != Waiting {
		o.Tries = out.d.Tries
	}
	for {
		term, leads := s.engine.o.Lease()
		if !leads {
			term = s.term
		}
		err := s.engine.o.Outbox.SettleDelivery(context.WithoutCancel(ctx), term, o)
		switch {
		case err == nil:
			if o.Event != nil {
				s.engine.o.OnLine(s.d.Incident.ID, *o.Event)
			}
			return o.State != Waiting
		case mesh.CodeOf(err) == mesh.Conflict:
			return true // who leads now reads the outbox anew.
		}
		s.engine.log.Error("the fate of a delivery cannot be stored; it is tried again", "delivery", s.d.ID, "error", err)
		select {
		case <-ctx.Done():
			return true
		case <-time.After(pollEvery):
		}
	}
}
