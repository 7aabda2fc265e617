package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
)

// change is one step of a drawn history: after a pause, a pod of a partition gets
// a new version.
type change struct {
	pause     time.Duration
	partition int
	pod       int
	urgent    bool
}

// world checks the laws while it answers as drawn.
type world struct {
	mu      sync.Mutex
	answers []int
	n       int
	flying  map[work.Key]bool
	want    map[string]string // newest version marked, by pod
	newest  map[work.Key]string
	acked   map[string]string // newest version a successful send carried
	broken  []string
}

func (w *world) send(_ context.Context, s Sending) Outcome {
	w.mu.Lock()
	if w.flying[s.Key] {
		w.broken = append(w.broken, "two sends of "+s.Key.String()+" at once")
	}
	w.flying[s.Key] = true
	answer := 0
	if w.n < len(w.answers) {
		answer = w.answers[w.n]
	}
	w.n++
	if s.Look.Version < w.newest[s.Key] {
		w.broken = append(w.broken, fmt.Sprintf("version %s sent after %s", s.Look.Version, w.newest[s.Key]))
	}
	w.newest[s.Key] = s.Look.Version
	w.mu.Unlock()
	time.Sleep(time.Duration(answer*7) * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying[s.Key] = false
	switch answer {
	case 1:
		return Outcome{Err: errors.New("no answer")}
	case 2:
		return Outcome{Reply: event.Reply{Failure: &event.Failure{Kind: fault.Transient}}}
	case 3:
		return Outcome{Reply: event.Reply{Failure: &event.Failure{Kind: fault.Permanent}}}
	case 4:
		return Outcome{Reply: event.Reply{Continue: true}}
	case 5:
		pods := s.Look.Pods()
		return Outcome{Reply: event.Reply{RequeueAfterMillis: 300, Pending: len(pods), PendingPods: pods}}
	case 7:
		return Outcome{Err: errors.New("432"), Throttled: true}
	case 8:
		return Outcome{Err: errors.New("406"), Refused: true}
	case 6:
		return Outcome{Err: errors.New("oom"), Ended: fmt.Sprint("attempt-", w.n)}
	}
	for _, p := range s.Look.Pods() {
		w.acked[p.Name] = max(w.acked[p.Name], p.ResourceVersion)
	}
	return Outcome{}
}

// TestNothingIsLost draws histories of changes and answers. Whatever happens, one
// send of a partition is under way at a time, none asks for less than the newest
// version seen, and in the end the newest version of every pod was in a send that
// succeeded.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		changes := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) change {
			return change{
				pause:     time.Duration(rapid.IntRange(0, 400).Draw(rt, "pause")) * time.Millisecond,
				partition: rapid.IntRange(0, 2).Draw(rt, "partition"),
				pod:       rapid.IntRange(0, 3).Draw(rt, "pod"),
				urgent:    rapid.Bool().Draw(rt, "urgent"),
			}
		}), 1, 40).Draw(rt, "changes")
		answers := rapid.SliceOfN(rapid.IntRange(0, 8), 0, 60).Draw(rt, "answers")
		parallel := rapid.IntRange(1, 3).Draw(rt, "parallel")
		random := rapid.Float64Range(0, 0.999).Draw(rt, "random")
		w := &world{answers: answers, flying: map[work.Key]bool{}, newest: map[work.Key]string{}, want: map[string]string{}, acked: map[string]string{}}
		synctest.Test(t, func(t *testing.T) { w.play(t, changes, parallel, random) })
		for _, b := range w.broken {
			rt.Error(b)
		}
		for pod, version := range w.want {
			if w.acked[pod] != version {
				rt.Errorf("%s: version %s was marked, %q acknowledged", pod, version, w.acked[pod])
			}
		}
	})
}

func (w *world) play(t *testing.T, changes []change, parallel int, random float64) {
	ctx, cancel := context.WithCancel(t.Context())
	q := New(Options{Parallel: parallel, Now: time.Now, Random: func() float64 { return random }, Send: w.send})
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	for i, c := range changes {
		time.Sleep(c.pause)
		name, version := fmt.Sprintf("p%d-%d", c.partition, c.pod), fmt.Sprintf("%06d", i)
		look := work.Of(event.Pod{Namespace: "default", Name: name, UID: "u", ResourceVersion: version})
		look.Urgent, look.Version = c.urgent, version
		w.want[name] = version
		q.Add(work.Mark{Key: work.Key{Function: event.Backends, Partition: fmt.Sprint("lb-", c.partition)}, Look: look})
	}
	time.Sleep(3 * time.Hour) // longer than every backoff drawn
	for f, s := range q.Stats() {
		if s != (Stats{}) {
			w.broken = append(w.broken, fmt.Sprintf("%s is not at rest: %+v", f, s))
		}
	}
	cancel()
	<-done
}
