package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
)

var backends = work.Key{Function: event.Backends, Partition: "lb-1"}

func pod(name string) event.Pod {
	return event.Pod{Namespace: "default", Name: name, UID: "uid-" + name, IP: "10.0.0.1"}
}

func mark(k work.Key, names ...string) work.Mark {
	var l work.Look
	for _, n := range names {
		l = l.Merge(work.Of(pod(n)))
	}
	return work.Mark{Key: k, Look: l}
}

func names(l work.Look) []string {
	out := []string{}
	if l.All {
		out = append(out, "*")
	}
	for _, p := range l.Pods() {
		out = append(out, p.Name)
	}
	return out
}

// run drives a queue in a bubble of synthetic time, with a function that answers
// each send of backends in turn and "done" after the last answer.
func run(t *testing.T, answers []Outcome, took time.Duration, script func(q *Queue, sends func() []Sending)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan Sending, 1000)
		var all []Sending
		n := 0
		q := New(Options{
			Now:    time.Now,
			Random: func() float64 { return 0.999 },
			Send: func(_ context.Context, s Sending) Outcome {
				time.Sleep(took)
				sent <- s
				i := n
				n++
				if i < len(answers) {
					return answers[i]
				}
				return Outcome{}
			},
		})
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		script(q, func() []Sending {
			synctest.Wait()
			for {
				select {
				case s := <-sent:
					all = append(all, s)
				default:
					return all
				}
			}
		})
		cancel()
		<-done
	})
}

func contents(sends []Sending) [][]string {
	out := [][]string{}
	for _, s := range sends {
		out = append(out, names(s.Look))
	}
	return out
}

func TestAnswersAreObeyed(t *testing.T) {
	fail := func(k fault.Kind, ms int64) Outcome {
		return Outcome{Reply: event.Reply{Failure: &event.Failure{Kind: k}, RequeueAfterMillis: ms}}
	}
	type step struct {
		after time.Duration
		mark  []string
	}
	cases := map[string]struct {
		reason  string
		answers []Outcome
		steps   []step
		want    [][]string
	}{
		"Done": {
			reason: "what was answered is forgotten",
			steps:  []step{{0, []string{"a"}}, {time.Hour, nil}},
			want:   [][]string{{"a"}},
		},
		"Continue": {
			reason:  "a pass that hands over is called again at once with the same",
			answers: []Outcome{{Reply: event.Reply{Continue: true}}},
			steps:   []step{{0, []string{"a"}}, {10 * time.Millisecond, nil}},
			want:    [][]string{{"a"}, {"a"}},
		},
		"RequeueNarrowsToPending": {
			reason:  "only the pods that wait need a look when asked again",
			answers: []Outcome{{Reply: event.Reply{RequeueAfterMillis: 1000, Pending: 1, PendingPods: []event.Pod{pod("b")}}}},
			steps:   []step{{0, []string{"a", "b"}}, {1100 * time.Millisecond, nil}},
			want:    [][]string{{"a", "b"}, {"b"}},
		},
		"RequeueNarrowsToThosePollable": {
			reason:  "pods that wait for something a watch will tell are not asked about",
			answers: []Outcome{{Reply: event.Reply{RequeueAfterMillis: 1000, Pending: 2, PendingPods: []event.Pod{pod("b")}}}},
			steps:   []step{{0, []string{"a", "b"}}, {1100 * time.Millisecond, nil}},
			want:    [][]string{{"a", "b"}, {"b"}},
		},
		"RequeueWithoutNamesIsTheSameAgain": {
			reason:  "too many wait to be named: the same again",
			answers: []Outcome{{Reply: event.Reply{RequeueAfterMillis: 1000, Pending: 200}}},
			steps:   []step{{0, []string{"a", "b"}}, {1100 * time.Millisecond, nil}},
			want:    [][]string{{"a", "b"}, {"a", "b"}},
		},
		"NewsDoesNotWaitForRequeue": {
			reason:  "a change is sent at once and alone, what was asked for comes when it was asked for",
			answers: []Outcome{{Reply: event.Reply{RequeueAfterMillis: 5000}}},
			steps:   []step{{0, []string{"a"}}, {2 * time.Second, []string{"b"}}, {time.Second, nil}, {3 * time.Second, nil}},
			want:    [][]string{{"a"}, {"b"}, {"a"}},
		},
		"PermanentIsParkedUntilChange": {
			reason:  "the partition's next change brings what was parked along",
			answers: []Outcome{fail(fault.Permanent, 0)},
			steps:   []step{{0, []string{"a"}}, {20 * time.Second, []string{"b"}}, {time.Second, nil}},
			want:    [][]string{{"a"}, {"a", "b"}},
		},
		"PermanentIsTriedAgainSlowly": {
			reason:  "somebody may have lifted the refusal where no watch sees it",
			answers: []Outcome{fail(fault.Invalid, 0)},
			steps:   []step{{0, []string{"a"}}, {29 * time.Second, nil}, {62 * time.Second, nil}},
			want:    [][]string{{"a"}, {"a"}},
		},
		"ParkingDoesNotDelayWhatWasAsked": {
			reason:  "an earlier wish to be called soon stands although a later send is refused",
			answers: []Outcome{{Reply: event.Reply{RequeueAfterMillis: 3000}}, fail(fault.Permanent, 0)},
			steps:   []step{{0, []string{"a"}}, {2 * time.Second, []string{"b"}}, {1100 * time.Millisecond, nil}},
			want:    [][]string{{"a"}, {"b"}, {"a", "b"}},
		},
		"TransientComesAgain": {
			reason:  "the first backoff is at most 200 ms",
			answers: []Outcome{fail(fault.Transient, 0)},
			steps:   []step{{0, []string{"a"}}, {200 * time.Millisecond, nil}},
			want:    [][]string{{"a"}, {"a"}},
		},
		"FunctionKnowsHowLong": {
			reason:  "a failure with a time of its own comes again then, not by backoff",
			answers: []Outcome{fail(fault.Throttled, 4000)},
			steps:   []step{{0, []string{"a"}}, {3 * time.Second, nil}, {time.Second, nil}},
			want:    [][]string{{"a"}, {"a"}},
		},
		"NoAnswer": {
			reason:  "a send without an answer stays pending, with what came since",
			answers: []Outcome{{Err: errors.New("timeout")}},
			steps:   []step{{0, []string{"a"}}, {10 * time.Millisecond, []string{"b"}}, {200 * time.Millisecond, nil}},
			want:    [][]string{{"a"}, {"a", "b"}},
		},
		"Gone": {
			reason:  "what has no object any more is forgotten",
			answers: []Outcome{{Gone: true}},
			steps:   []step{{0, []string{"a"}}, {time.Hour, nil}},
			want:    [][]string{{"a"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run(t, tc.answers, 0, func(q *Queue, sends func() []Sending) {
				for _, s := range tc.steps {
					time.Sleep(s.after)
					if s.mark != nil {
						q.Add(mark(backends, s.mark...))
					}
				}
				if diff := cmp.Diff(tc.want, contents(sends())); diff != "" {
					t.Errorf("%s: -want +got\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func TestMarksOfABusyPartitionAreGathered(t *testing.T) {
	run(t, nil, 50*time.Millisecond, func(q *Queue, sends func() []Sending) {
		for i := range 100 {
			q.Add(mark(backends, fmt.Sprintf("p%02d", i)))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		got := sends()
		seen := map[string]bool{}
		for _, s := range got {
			for _, n := range names(s.Look) {
				seen[n] = true
			}
		}
		if len(seen) != 100 || len(got) > 4 || len(names(got[0].Look)) != 1 {
			t.Errorf("%d pods in %d sends, the first with %d; want 100 in at most 4, the first alone and at once", len(seen), len(got), len(names(got[0].Look)))
		}
	})
}

func TestUrgentDoesNotGather(t *testing.T) {
	run(t, nil, 400*time.Millisecond, func(q *Queue, sends func() []Sending) {
		q.Add(mark(backends, "a"))
		time.Sleep(450 * time.Millisecond)
		q.Add(mark(backends, "b"))
		time.Sleep(20 * time.Millisecond)
		if got := q.Stats()[event.Backends]; got.Waiting != 1 || got.Sending != 0 {
			t.Fatalf("a busy partition doesn't gather: %+v", got)
		}
		m := mark(backends, "going")
		m.Look.Urgent = true
		q.Add(m)
		synctest.Wait()
		if got := q.Stats()[event.Backends]; got.Sending != 1 {
			t.Errorf("an urgent look waited: %+v", got)
		}
		time.Sleep(time.Second)
		if diff := cmp.Diff([][]string{{"a"}, {"b", "going"}}, contents(sends())); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// partitions marks n partitions of a function.
func partitions(f event.Function, n int) []work.Mark {
	var out []work.Mark
	for i := range n {
		out = append(out, mark(work.Key{Function: f, Partition: fmt.Sprint("lb-", i)}, "a"))
	}
	return out
}

// A platform that has had enough means all of a function's events, and no other's.
func TestThrottlingSlowsTheWholeFunction(t *testing.T) {
	cases := map[string]struct {
		reason string
		says   time.Duration
		least  time.Duration
	}{
		"RetryAfter": {"it says for how long", 3 * time.Second, 3 * time.Second},
		"Unsaid":     {"it doesn't say: a little", 0, 100 * time.Millisecond},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				refused, flying, widest := 0, 0, 0
				at := map[event.Function][]time.Duration{}
				var mu sync.Mutex
				q := New(Options{Parallel: 8, Now: time.Now, Random: func() float64 { return 0.5 }, Send: func(_ context.Context, s Sending) Outcome {
					mu.Lock()
					at[s.Function] = append(at[s.Function], time.Since(began))
					if s.Function == event.Backends && refused > 0 {
						flying++
						widest = max(widest, flying)
					}
					mu.Unlock()
					time.Sleep(10 * time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					flying = max(0, flying-1)
					if s.Function == event.Backends && refused < 1 {
						refused++
						return Outcome{Err: errors.New("432"), Throttled: true, RetryAfter: c.says}
					}
					return Outcome{}
				}})
				done := make(chan struct{})
				go func() { q.Run(ctx); close(done) }()
				defer func() { cancel(); <-done }()
				q.Add(mark(backends, "first"))
				time.Sleep(20 * time.Millisecond)
				q.Add(partitions(event.Backends, 50)...)
				q.Add(partitions(event.Frontend, 50)...)
				time.Sleep(50 * time.Millisecond)
				mu.Lock()
				if n := len(at[event.Backends]); n != 1 {
					t.Errorf("%s: %d sends to a function that has had enough", c.reason, n)
				}
				if len(at[event.Frontend]) < 8 {
					t.Errorf("%s: the other function got %d", c.reason, len(at[event.Frontend]))
				}
				mu.Unlock()
				time.Sleep(20 * time.Second)
				mu.Lock()
				defer mu.Unlock()
				if got := at[event.Backends]; len(got) != 51 || got[1] < c.least {
					t.Errorf("%s: %d sends, the second after %s", c.reason, len(got), got[1])
				}
				if widest >= 8 && at[event.Backends][8]-at[event.Backends][1] < 10*time.Millisecond {
					t.Errorf("%s: it was sent everything at once again", c.reason)
				}
			})
		})
	}
}

// After an outage of the function everything comes soon, whatever its backoff had grown
// to; a partition that fails by itself is not hurried by others' success.
func TestOutageEndsForAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		down, done, poisoned := true, map[string]time.Time{}, 0
		q := New(Options{Now: time.Now, Random: func() float64 { return 0.9 }, Send: func(_ context.Context, s Sending) Outcome {
			mu.Lock()
			defer mu.Unlock()
			if s.Partition == "lb-poison" {
				poisoned++
				return Outcome{Err: errors.New("430")}
			}
			if down {
				return Outcome{Err: errors.New("connection refused")}
			}
			done[s.Partition] = time.Now()
			return Outcome{}
		}})
		ended := make(chan struct{})
		go func() { q.Run(ctx); close(ended) }()
		defer func() { cancel(); <-ended }()
		q.Add(partitions(event.Backends, 50)...)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		down = false
		mu.Unlock()
		back := time.Now()
		time.Sleep(time.Minute)
		mu.Lock()
		if len(done) != 50 {
			t.Errorf("%d of 50 partitions were answered", len(done))
		}
		for p, at := range done {
			if late := at.Sub(back); late > 12*time.Second {
				t.Errorf("%s waited for %s after the function was back", p, late)
			}
		}
		mu.Unlock()
		q.Add(mark(work.Key{Function: event.Backends, Partition: "lb-poison"}, "a"))
		for range 600 {
			time.Sleep(time.Second)
			q.Add(partitions(event.Backends, 3)...)
		}
		mu.Lock()
		defer mu.Unlock()
		if poisoned > 30 {
			t.Errorf("a partition that fails by itself was sent %d times in ten minutes", poisoned)
		}
	})
}

func TestRefusedIsParkedUntilChange(t *testing.T) {
	run(t, []Outcome{{Err: errors.New("400"), Refused: true}}, 0, func(q *Queue, sends func() []Sending) {
		q.Add(mark(backends, "a"))
		time.Sleep(20 * time.Second)
		if got := q.Stats()[event.Backends]; got.Parked != 1 || len(sends()) != 1 {
			t.Fatalf("not parked: %+v after %v", got, contents(sends()))
		}
		q.Add(mark(backends, "b"))
		if diff := cmp.Diff([][]string{{"a"}, {"a", "b"}}, contents(sends())); diff != "" {
			t.Errorf("a change brings it along: -want +got\n%s", diff)
		}
	})
}

func TestEndedAttemptsAreToldUntilAnswered(t *testing.T) {
	answers := []Outcome{{Err: errors.New("433"), Ended: "attempt-1"}, {Err: errors.New("timeout")}, {}, {}, {}}
	frontend := work.Key{Function: event.Frontend, Partition: backends.Partition}
	run(t, answers, 0, func(q *Queue, sends func() []Sending) {
		q.Add(mark(backends, "a"))
		time.Sleep(time.Second)
		q.Add(work.Mark{Key: frontend, Look: work.Look{All: true}})
		synctest.Wait()
		q.Add(mark(backends, "b"))
		got := sends()
		var ended []string
		for _, s := range got {
			ended = append(ended, fmt.Sprint(s.Function, s.Ended))
		}
		want := []string{"backends[]", "backends[attempt-1]", "backends[attempt-1]", "frontend[attempt-1]", "backends[]"}
		time.Sleep(time.Second)
		if diff := cmp.Diff(want[:4], ended[:min(4, len(ended))]); diff != "" {
			t.Errorf("an ended attempt is told to everybody who may wait for its Lease, until they answered: -want +got\n%s", diff)
		}
		if got := sends(); len(got) != 5 || len(got[4].Ended) != 0 {
			t.Errorf("after an answer it is told no more; got %d sends, last %v", len(got), got[len(got)-1].Ended)
		}
	})
}

func TestMovedTakesEverythingAlong(t *testing.T) {
	from := work.Key{Function: event.Frontend, Partition: "service/default/web"}
	to := work.Key{Function: event.Frontend, Partition: "lb-1"}
	run(t, []Outcome{{Err: errors.New("434"), Ended: "attempt-1"}, {Moved: &to}}, 0, func(q *Queue, sends func() []Sending) {
		q.Add(work.Mark{Key: from, Look: work.Look{All: true}})
		time.Sleep(time.Second)
		got := sends()
		last := got[len(got)-1]
		if last.Key != to || !last.Look.All || len(last.Ended) != 1 {
			t.Errorf("got %v, want everything under %v", last, to)
		}
	})
}

func TestBackoffGrowsToItsCap(t *testing.T) {
	cases := map[string]struct {
		reason   string
		failures int
		pressing bool
		want     time.Duration
	}{
		"First":        {"begins small", 0, false, 200 * time.Millisecond},
		"Third":        {"doubles", 2, false, 800 * time.Millisecond},
		"Many":         {"is capped at a minute", 15, false, time.Minute},
		"VeryMany":     {"does not overflow", 200, false, time.Minute},
		"ManyPressing": {"is capped low while a gate waits", 15, true, 5 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			q := New(Options{Now: time.Now, Random: func() float64 { return 1 }})
			if got := q.backoff(tc.failures, tc.pressing); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestNewsShortensALongBackoff(t *testing.T) {
	var answers []Outcome
	for range 12 {
		answers = append(answers, Outcome{Err: errors.New("down")})
	}
	run(t, answers, 0, func(q *Queue, sends func() []Sending) {
		q.Add(mark(backends, "a"))
		time.Sleep(105 * time.Second)
		before := len(sends())
		q.Add(mark(backends, "b"))
		time.Sleep(5 * time.Second)
		if got := len(sends()); got != before+1 {
			t.Errorf("%d sends within 5 s of a change, want 1", got-before)
		}
	})
}

// A partition is busy for a drain while a pass is under way that it isn't part of. Another
// drain is soon over, and those that come meanwhile go together.
func TestBusy(t *testing.T) {
	run(t, nil, time.Second, func(q *Queue, _ func() []Sending) {
		check := func(why string, want bool) {
			t.Helper()
			synctest.Wait()
			if got := q.Busy(backends); got != want {
				t.Errorf("%s: got %t", why, got)
			}
		}
		check("nothing is under way", false)
		q.Add(mark(backends, "a"))
		check("a pass is", true)
		time.Sleep(2 * time.Second)
		check("it is over", false)
		q.Add(work.Mark{Key: backends, Look: work.Of(event.Pod{Name: "a", Draining: "app=c-1"})})
		check("a drain is", false)
	})
}
