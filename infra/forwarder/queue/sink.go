package queue

import (
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
)

// sink is one function, as far as it takes events: what is due for it, and how much it
// bears. A platform that has had enough says so for all partitions at once.
type sink struct {
	order   order
	running int
	// until is when it may be sent to again; throttled counts how often in a row it has
	// had enough.
	until     time.Time
	throttled int
	// silent counts sends in a row that got no answer, each of another partition than the
	// one before: one that fails by itself says nothing about the function. last is the
	// latest of them.
	silent int
	last   work.Key
	// width is how many sends may be under way, 0 for no limit of its own.
	width int
}

// longestPause bounds how long a function that has had enough is left alone, unless it
// says itself for how long.
const longestPause = 10 * time.Second

// slow leaves the function alone for as long as it says, or longer each time, and then
// sends it half as much side by side as when it had enough.
func (s *sink) slow(now time.Time, says time.Duration, o Options) {
	pause := says
	if pause <= 0 {
		d := longestPause
		if s.throttled < 10 {
			d = min(longestPause, o.MinBackoff<<s.throttled)
		}
		pause = time.Duration((0.5 + o.Random()/2) * float64(d))
	}
	if until := now.Add(pause); until.After(s.until) {
		s.until = until
	}
	if s.throttled == 0 || s.running == 0 { // those under way at the time count once
		s.width = max(1, (s.running+1)/2)
	}
	s.throttled++
}

// quicken takes back a little of the slowing with every answer.
func (s *sink) quicken(parallel int) {
	s.throttled = 0
	if s.width == 0 {
		return
	}
	if s.width++; s.width >= parallel {
		s.width = 0
	}
}

// silence takes in that a send of k got no answer.
func (s *sink) silence(k work.Key) {
	if s.last != k || s.silent == 0 {
		s.silent++
	}
	s.last = k
}

// away is how many partitions in a row must have got no answer for the function, not
// them, to be what is wrong.
const away = 2

// back takes in an answer, and tells whether the function had been away.
func (s *sink) back() bool {
	was := s.silent >= away
	s.silent = 0
	return was
}

// recover has everything that waits because a function was away sent soon, now that it
// is back: not all at the same moment.
func (q *Queue) recover(f event.Function, now time.Time) {
	for k, e := range q.entries {
		if k.Function != f || e.inFlight || e.later.kind != failed || !e.unanswered {
			continue
		}
		soon := now.Add(time.Duration(q.o.Random() * float64(time.Second)))
		if e.blocked.After(soon) {
			e.blocked = soon
			e.later.due = soon
			q.fix(e)
		}
	}
}

// open tells when the function may be sent to, false while it has as much as it bears.
func (s *sink) open() (time.Time, bool) {
	return s.until, s.width == 0 || s.running < s.width
}

func (q *Queue) sink(f event.Function) *sink {
	s := q.sinks[f]
	if s == nil {
		s = &sink{}
		q.sinks[f] = s
	}
	return s
}

// first is the sink that is due first, and when that is, nil for none.
func (q *Queue) first() (to *sink, at time.Time) {
	for _, f := range event.Functions {
		s := q.sinks[f]
		if s == nil || len(s.order) == 0 {
			continue
		}
		due := s.order[0].at
		until, open := s.open()
		if !open {
			continue
		}
		if until.After(due) {
			due = until
		}
		if to == nil || due.Before(at) {
			to, at = s, due
		}
	}
	return to, at
}

// order is a heap of entries by when they are due.
type order []*entry

func (o order) Len() int           { return len(o) }
func (o order) Less(i, j int) bool { return o[i].at.Before(o[j].at) }
func (o order) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].index, o[j].index = i, j
}

// Push is for package heap.
func (o *order) Push(v any) {
	e := v.(*entry)
	e.index = len(*o)
	*o = append(*o, e)
}

// Pop is for package heap.
func (o *order) Pop() any {
	old := *o
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*o = old[:len(old)-1]
	e.index = -1
	return e
}
