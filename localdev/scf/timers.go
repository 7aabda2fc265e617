package scf

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
)

// timerEvent is what a timer hands over ("Timer Trigger", document 583/9708).
type timerEvent struct {
	Type        string
	TriggerName string
	Time        string
	Message     string
}

// startTimers lets the enabled timers fire at their times.
func (s *Server) startTimers() error {
	for _, f := range s.functions {
		for _, t := range f.Timers {
			if !t.Enabled {
				continue
			}
			schedule, err := manifest.ParseSchedule(t.Cron)
			if err != nil {
				return fmt.Errorf("timer %s of %s: %w", t.Name, f.Key, err)
			}
			if !s.enter() {
				return nil
			}
			go func() {
				defer s.inflight.Done()
				s.tick(f, t, schedule)
			}()
		}
	}
	return nil
}

// tick fires a timer until the server closes. It doesn't wait for what it fires: an
// event that takes longer than the period meets the next one in another instance. Times
// that passed while the clock jumped are not made up for.
func (s *Server) tick(f *function, t manifest.Timer, schedule *manifest.Schedule) {
	var last time.Time
	for {
		now := s.opts.Clock.Now()
		// The clock may have been set back since.
		next := schedule.Next(later(now, last))
		if next.IsZero() || !s.pause(s.ctx, next.Sub(now)) {
			return
		}
		last = next
		if _, failure := s.fireTimer(f, t, next); failure != nil {
			s.output.line("timer "+t.Name+" ", []byte(failure.ErrorMessage))
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *Server) fireTimer(f *function, t manifest.Timer, at time.Time) (*Pending, *Failure) {
	// Strings always marshal.
	event, _ := json.Marshal(timerEvent{
		Type: "Timer", TriggerName: t.Name, Time: at.UTC().Format(time.RFC3339), Message: t.Argument,
	})
	return s.enqueue(f, "timer", event)
}

// FireTimer makes the function's timer of that name fire now, whether or not it is
// enabled and Options.Timers set. It is an error if there is no such function or timer.
func (s *Server) FireTimer(key, name string) (*Pending, error) {
	f, err := s.function(key)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f.Timers, func(t manifest.Timer) bool { return t.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("function %s has no timer %s", key, name)
	}
	p, failure := s.fireTimer(f, f.Timers[i], s.opts.Clock.Now())
	return accepted(p, failure)
}
