package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/queue"
	"github.com/clb-direct/clb-direct/infra/forwarder/transport"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// functions are a transport that decodes as the functions do and answers as told.
type functions struct {
	t      *testing.T
	mu     sync.Mutex
	got    []event.Request
	answer func(r event.Request) (event.Reply, error)
}

func (f *functions) Send(_ context.Context, to event.Function, payload []byte) (event.Reply, error) {
	d, err := event.Decode(payload, event.Receiver{}, time.Now())
	if err != nil || len(d.Requests) != 1 || d.Requests[0].Function != to {
		f.t.Errorf("the door of %s refuses %s: %v", to, payload, err)
		return event.Reply{}, err
	}
	if len(payload) > event.MaxBytes {
		f.t.Errorf("an event of %d bytes", len(payload))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, d.Requests[0])
	if f.answer == nil {
		return event.Reply{}, nil
	}
	return f.answer(d.Requests[0])
}

// requests are those that came.
func (f *functions) requests() []event.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

func (f *functions) keys() []string {
	var out []string
	for _, r := range f.requests() {
		out = append(out, string(r.Function)+" "+r.Partition)
	}
	return out
}

func service(ns, name, lb string) model.Service {
	return model.Service{
		Front: model.Front{
			Kind: model.KindService, Namespace: ns, Name: name, UID: "uid-" + name, ResourceVersion: "1",
			Annotations: map[string]string{desired.DirectAccess: "true", desired.LoadBalancerID: lb},
		},
		Type: "LoadBalancer", Selector: map[string]string{"app": name},
	}
}

// lead runs a relay in synthetic time over f, and script while it leads.
func lead(t *testing.T, f *functions, prepare func(*index.Index), script func(*Relay, *index.Index)) {
	t.Helper()
	f.t = t
	synctest.Test(t, func(t *testing.T) {
		x := index.New(desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation})
		prepare(x)
		r := New(Options{Index: x, Transport: f, Timeout: 30 * time.Second, Log: slog.New(slog.DiscardHandler),
			Queue: queue.Options{Now: time.Now, Random: func() float64 { return 0.5 }}})
		r.Offer(x.SetService(service("default", "early", ""))) // before it leads: Lead begins with everything
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Lead(ctx); close(done) }()
		synctest.Wait()
		script(r, x)
		cancel()
		<-done
		if r.Stats() != nil {
			t.Error("a relay that doesn't lead has a queue")
		}
	})
}

func TestLeadBeginsWithEverything(t *testing.T) {
	f := &functions{}
	lead(t, f, func(x *index.Index) { x.SetService(service("default", "web", "lb-1")) }, func(*Relay, *index.Index) {
		want := []string{"backends lb-1", "frontend lb-1", "frontend service/default/early", "readiness readiness/0"}
		got := f.keys()
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		for _, r := range f.requests() {
			if r.Sync.Cluster != "cls-1" || r.Source != "/clusters/cls-1" || r.Sync.Attempt == "" || r.Sync.Grant["*"] <= 0 || r.Sequence == "" {
				t.Errorf("incomplete: %+v", r)
			}
		}
	})
}

func TestEveryAttemptAndSequenceIsItsOwn(t *testing.T) {
	f := &functions{answer: func(event.Request) (event.Reply, error) { return event.Reply{RequeueAfterMillis: 10}, nil }}
	lead(t, f, func(*index.Index) {}, func(*Relay, *index.Index) {
		time.Sleep(time.Second)
		attempts := map[string]bool{}
		last := ""
		for _, r := range f.requests() {
			if r.Partition != "service/default/early" {
				continue
			}
			if attempts[r.Sync.Attempt] || r.Sequence <= last {
				t.Fatalf("attempt %s or sequence %s after %s was used before", r.Sync.Attempt, r.Sequence, last)
			}
			attempts[r.Sync.Attempt], last = true, r.Sequence
		}
		if len(attempts) < 10 {
			t.Errorf("%d attempts in a second at 10 ms", len(attempts))
		}
	})
}

func TestWakeReachesItsPartition(t *testing.T) {
	f := &functions{}
	f.answer = func(r event.Request) (event.Reply, error) {
		if r.Function == event.Frontend && r.Partition == "lb-1" {
			return event.Reply{Wake: []event.Wake{{Function: event.Backends, Sync: event.Sync{LoadBalancers: []string{"lb-2"}, All: true}}}}, nil
		}
		return event.Reply{}, nil
	}
	prepare := func(x *index.Index) {
		x.SetService(service("default", "web", "lb-1"))
		x.SetService(service("default", "api", "lb-2"))
	}
	lead(t, f, prepare, func(*Relay, *index.Index) {
		time.Sleep(time.Second)
		n := 0
		for _, k := range f.keys() {
			if k == "backends lb-2" {
				n++
			}
		}
		if n != 2 {
			t.Errorf("backends lb-2 was sent %d times, want once at the start and once woken", n)
		}
	})
}

// A frontend that dies after its write has made a listener, and nobody hears of it: the
// next attempt finds it made. What is bound there must be looked at all the same, once: an
// attempt that was only told to wait for the Lease has found nothing yet.
func TestLostAnswerOfFrontendWakesBackends(t *testing.T) {
	attempts := 0
	f := &functions{}
	f.answer = func(r event.Request) (event.Reply, error) {
		if r.Function != event.Frontend || r.Partition != "lb-1" {
			return event.Reply{}, nil
		}
		switch attempts++; {
		case attempts == 1:
			return event.Reply{}, &transport.Failure{Code: "439", Ended: true, Err: errors.New("exited")}
		case attempts < 6:
			return event.Reply{RequeueAfterMillis: 300, Failure: &event.Failure{Kind: fault.Conflict}}, nil
		}
		return event.Reply{}, nil
	}
	lead(t, f, func(x *index.Index) { x.SetService(service("default", "web", "lb-1")) }, func(*Relay, *index.Index) {
		time.Sleep(10 * time.Second)
		n := 0
		for _, r := range f.requests() {
			if r.Function == event.Backends && r.Partition == "lb-1" && r.Sync.All {
				n++
			}
		}
		if n != 2 {
			t.Errorf("backends lb-1 was sent %d times, want once at the start and once for the lost answer", n)
		}
	})
}

func TestEndedAttemptIsNamedAndATimeoutIsNot(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    error
		want   int
	}{
		"Platform": {"the platform says that nobody holds the Lease any more", &transport.Failure{Code: "433", Ended: true, Err: errors.New("timed out")}, 1},
		"Ours":     {"the function may be at work still", context.DeadlineExceeded, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &functions{}
			first := ""
			f.answer = func(r event.Request) (event.Reply, error) {
				if r.Function == event.Backends && first == "" {
					first = r.Sync.Attempt
					return event.Reply{}, tc.err
				}
				return event.Reply{}, nil
			}
			lead(t, f, func(x *index.Index) { x.SetService(service("default", "web", "lb-1")) }, func(*Relay, *index.Index) {
				time.Sleep(10 * time.Second)
				var last event.Request
				for _, r := range f.requests() {
					if r.Function == event.Backends {
						last = r
					}
				}
				if len(last.Sync.Ended) != tc.want || tc.want == 1 && last.Sync.Ended[0] != first || last.Sync.Attempt == first {
					t.Errorf("%s: the next event names %v of attempt %s", tc.reason, last.Sync.Ended, first)
				}
			})
		})
	}
}

// An unanswered event comes again under its id, however often; one that is asked for
// again, and one about a newer state, are others.
func TestIDsAreDeterministic(t *testing.T) {
	n := 0
	f := &functions{answer: func(r event.Request) (event.Reply, error) {
		if r.Function != event.Backends || r.Sync.All {
			return event.Reply{}, nil
		}
		switch n++; n {
		case 1, 2:
			return event.Reply{}, context.DeadlineExceeded
		case 3:
			return event.Reply{RequeueAfterMillis: 50}, nil
		}
		return event.Reply{}, nil
	}}
	pod := model.Pod{Namespace: "default", Name: "a", UID: "uid-a", ResourceVersion: "7", IP: "10.0.0.1", Phase: "Running", Labels: map[string]string{"app": "web"}}
	lead(t, f, func(x *index.Index) { x.SetService(service("default", "web", "lb-1")) }, func(r *Relay, x *index.Index) {
		time.Sleep(2 * time.Second)
		r.Offer(x.SetPod(pod))
		time.Sleep(5 * time.Second)
		pod.ResourceVersion, pod.ContainersReady = "9", true
		r.Offer(x.SetPod(pod))
		time.Sleep(5 * time.Second)
		var ids []string
		for _, r := range f.requests() {
			if r.Function == event.Backends && !r.Sync.All {
				ids = append(ids, r.ID)
			}
		}
		if len(ids) != 5 || ids[0] != ids[1] || ids[1] != ids[2] || ids[2] == ids[3] || ids[3] == ids[4] {
			t.Errorf("ids %q: want three alike, then two others", ids)
		}
		if want := "uid-a/7/io.clb-direct.backends.sync"; !strings.HasPrefix(ids[0], want) {
			t.Errorf("id %q, want uid, version and type", ids[0])
		}
	})
}

// What the platform refuses is told of once a send, with the objects; what throttles is
// not.
func TestRefusalsAreTold(t *testing.T) {
	f := &functions{answer: func(r event.Request) (event.Reply, error) {
		if r.Function == event.Backends {
			return event.Reply{}, &transport.Failure{Code: "441", Refused: true, Err: errors.New("unauthorized")}
		}
		return event.Reply{}, &transport.Failure{Code: "432", Throttled: true, Err: errors.New("no instance")}
	}}
	var told []string
	synctest.Test(t, func(t *testing.T) {
		f.t = t
		x := index.New(desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation})
		x.SetService(service("default", "web", "lb-1"))
		r := New(Options{Index: x, Transport: f, Timeout: 30 * time.Second, Log: slog.New(slog.DiscardHandler),
			Queue:   queue.Options{Now: time.Now, Random: func() float64 { return 0.5 }},
			Refused: func(f event.Function, objects []event.Ref, _ error) { told = append(told, fmt.Sprint(f, objects)) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Lead(ctx); close(done) }()
		time.Sleep(30 * time.Second)
		cancel()
		<-done
	})
	if diff := cmp.Diff([]string{"backends[default/web]"}, told); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestEventsStayWithinTheirLimit(t *testing.T) {
	f := &functions{}
	long := func(i int) string { return fmt.Sprintf("%0220d", i) }
	prepare := func(x *index.Index) {
		for i := range event.MaxObjects + 10 {
			x.SetService(service(long(i)[:63], long(i), "lb-1"))
		}
	}
	lead(t, f, prepare, func(*Relay, *index.Index) { // Send checks the size
		if len(f.keys()) < 3 {
			t.Errorf("sent %v", f.keys())
		}
	})
}

func TestPermanentFailureIsNotHammered(t *testing.T) {
	f := &functions{answer: func(event.Request) (event.Reply, error) {
		return event.Reply{Failure: &event.Failure{Kind: fault.Permanent, Message: "arrears"}}, nil
	}}
	lead(t, f, func(*index.Index) {}, func(*Relay, *index.Index) {
		time.Sleep(10 * time.Minute)
		if n := len(f.keys()); n < 12 || n > 30 { // two partitions, about one a minute
			t.Errorf("%d sends in ten minutes", n)
		}
	})
}

// TestSilent: since when a partition is sent to in vain, and that one answer ends it.
func TestSilent(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	f := &functions{}
	f.answer = func(event.Request) (event.Reply, error) {
		if away.Load() {
			return event.Reply{}, errors.New("connection refused")
		}
		return event.Reply{}, nil
	}
	lead(t, f, func(x *index.Index) { x.SetService(service("default", "web", "lb-1")) }, func(r *Relay, x *index.Index) {
		led := time.Now()
		key := work.Key{Function: event.Readiness, Partition: "readiness/0"}
		time.Sleep(time.Minute)
		if since, silent := r.Silent(key); !silent || since.After(led) {
			t.Errorf("want silence since it leads, %s ago; got %t since %s", time.Since(led), silent, time.Since(since))
		}
		away.Store(false)
		time.Sleep(2 * time.Minute)
		if _, silent := r.Silent(key); silent {
			t.Error("it has answered, and counts as silent")
		}
		if _, silent := r.Silent(work.Key{Function: event.Readiness, Partition: "readiness/7"}); silent {
			t.Error("a partition that was never sent to counts as silent")
		}
	})
}
