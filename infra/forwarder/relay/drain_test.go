package relay

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/queue"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

// drainMark is of a container of a pod behind lb-1.
func drainMark(name string) work.Mark {
	look := work.Of(event.Pod{Namespace: "default", Name: name, UID: "uid-" + name, IP: "10.0.0.1", Draining: "app=c-1"})
	look.Urgent = true
	return work.Mark{Key: work.Key{Function: event.Backends, Partition: "lb-1"}, Look: look}
}

// drained are the pods whose drain came.
func (f *functions) drained() []string {
	var out []string
	for _, r := range f.requests() {
		for _, p := range r.Sync.Pods {
			if p.Draining != "" {
				out = append(out, p.Name+" "+p.Draining)
			}
		}
	}
	return out
}

// TestDrainsWithoutLeading: drains are sent by whoever was asked, all else by the leader.
func TestDrainsWithoutLeading(t *testing.T) {
	f := &functions{t: t}
	synctest.Test(t, func(t *testing.T) {
		x := index.New(desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation})
		r := New(Options{Index: x, Transport: f, Timeout: 30 * time.Second, Log: slog.New(slog.DiscardHandler),
			Queue: queue.Options{Now: time.Now, Random: func() float64 { return 0.5 }}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.RunDrains(ctx); close(done) }()
		r.Offer(x.SetService(service("default", "web", "lb-1")))
		r.Drain([]work.Mark{drainMark("a")})
		synctest.Wait()
		cancel()
		<-done
	})
	if diff := cmp.Diff([]string{"backends lb-1"}, f.keys()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a app=c-1"}, f.drained()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDrainsWhileLeading: they wait their turn with what else is about their CLB.
func TestDrainsWhileLeading(t *testing.T) {
	f := &functions{}
	lead(t, f, func(x *index.Index) { x.SetService(service("default", "web", "lb-1")) }, func(r *Relay, _ *index.Index) {
		before := len(f.requests())
		r.Drain([]work.Mark{drainMark("a")})
		synctest.Wait()
		if got := len(f.requests()) - before; got != 1 {
			t.Errorf("want one event, got %d", got)
		}
	})
	if diff := cmp.Diff([]string{"a app=c-1"}, f.drained()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// dragging functions take ten seconds for everything but a drain.
type dragging struct{ *functions }

func (s dragging) Send(ctx context.Context, to event.Function, payload []byte) (event.Reply, error) {
	if !strings.Contains(string(payload), "draining") {
		time.Sleep(10 * time.Second)
	}
	return s.functions.Send(ctx, to, payload)
}

// TestDrainsBesideAPass: a drain doesn't wait in the queue for a pass over its CLB that is
// under way, as that gives way only to an attempt that waits.
func TestDrainsBesideAPass(t *testing.T) {
	f := &functions{t: t}
	synctest.Test(t, func(t *testing.T) {
		x := index.New(desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation})
		x.SetService(service("default", "web", "lb-1"))
		r := New(Options{Index: x, Transport: dragging{f}, Timeout: 30 * time.Second, Log: slog.New(slog.DiscardHandler),
			Queue: queue.Options{Now: time.Now, Random: func() float64 { return 0.5 }}})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.RunDrains(ctx) })
		running.Go(func() { r.Lead(ctx) })
		synctest.Wait()
		r.Drain([]work.Mark{drainMark("a")})
		synctest.Wait()
		if diff := cmp.Diff([]string{"a app=c-1"}, f.drained()); diff != "" {
			t.Errorf("while a pass is under way: -want +got:\n%s", diff)
		}
		cancel()
		running.Wait()
	})
}
