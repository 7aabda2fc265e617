package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

// The tests of this file stop the forwarder: what is put right afterwards is resync's
// doing alone. It looks at everything, other tests' leavings too.

// resync has everything looked at once, by InvokeFunction.
func (s *space) resync(dry bool) event.Reply {
	s.t.Helper()
	id := "by-hand-" + uuid.NewString()
	e, err := event.Request{ID: id, Function: event.Resync, Source: event.Source(stack.ClusterID),
		Sync: event.Sync{Cluster: stack.ClusterID, Attempt: id, All: true, DryRun: dry}}.Encode(time.Now())
	s.must(err)
	raw, err := json.Marshal(e)
	s.must(err)
	return s.invoke(event.Resync, string(raw))
}

// resyncUntil awaits cond with one resync after the other.
func (s *space) resyncUntil(why string, cond func() (bool, string)) {
	s.t.Helper()
	s.await(why, func() (bool, string) {
		if ok, _ := cond(); ok {
			return true, ""
		}
		r := s.resync(false)
		ok, state := cond()
		return ok, fmt.Sprintf("%s; resync said %+v", state, r)
	})
}

// nothingLeft requires that resyncs come to have nothing to do, and then do nothing.
// Other tests' namespaces may be going meanwhile.
func (s *space) nothingLeft() {
	s.t.Helper()
	s.await("there is nothing left for a resync to do", func() (bool, string) {
		before := s.versions()
		r := s.resync(false)
		if len(r.Plan) > 0 {
			return false, fmt.Sprintf("%+v", r)
		}
		if len(r.Writes) > 0 || r.Failure != nil || r.Continue {
			s.t.Errorf("want a resync with nothing to do to do nothing, got %+v", r)
		}
		if diff := cmp.Diff(before, s.versions()); diff != "" {
			s.t.Errorf("a resync with nothing to do wrote to objects: -before +after:\n%s", diff)
		}
		return true, ""
	})
}

// killedAt sends frontend one event by hand and kills it when it calls an action of the
// CLB, which is carried out all the same.
func (s *space) killedAt(action string, data event.Sync) {
	s.t.Helper()
	ours := s.attempts()
	var once sync.Once
	killed := false
	remove := s.CLB.Intercept(func(_ context.Context, call clb.Call) *clb.Fault {
		if id, ok := ours.of(call); ok && call.Action == action {
			once.Do(func() { killed = slices.Contains(s.SCF.Kill(id), id) })
		}
		return nil
	})
	defer remove()
	_, err := s.sender().send(s.t.Context(), event.Frontend, data)
	if !killed || err == nil {
		s.t.Fatalf("want frontend killed at %s, got %v", action, err)
	}
}

// onlyResync requires that no function but resync is invoked from now on.
func (s *space) onlyResync() {
	s.onInvoke(s.t, func(inv scf.Invocation) {
		if inv.Key != string(event.Resync) {
			s.t.Errorf("%s was invoked by %s", inv.Key, inv.Via)
		}
	})
}

// memory is what resync keeps from one time to the next.
func (s *space) memory() map[string]string {
	s.t.Helper()
	m, err := s.client.CoreV1().ConfigMaps(stack.Namespace).Get(s.t.Context(), "clb-direct-resync", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	s.must(err)
	return m.Data
}

// orphan takes a Service's finalizer away by hand and deletes it, so that what it holds
// is nobody's.
func (s *space) orphan(name string) {
	s.t.Helper()
	_, err := s.client.CoreV1().Services(s.name).Patch(s.t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	s.must(err)
	s.deleteService(name)
	s.awaitServiceGone(name)
}

// "Finishes interrupted creations": the function died when the CLB had been asked for,
// and nobody remembers.
func TestResyncFinishesCreation(t *testing.T) {
	withoutForwarder(t)
	s := newSpace(t)
	svc := s.service("web")
	s.pods("a")
	s.killedAt("CreateLoadBalancer", event.Sync{Objects: []event.Ref{{Namespace: s.name, Name: "web"}}})
	s.onlyResync()
	s.await("the load balancer that was asked for is there", func() (bool, string) {
		ids := s.owned(svc)
		return len(ids) == 1, fmt.Sprint(ids)
	})
	if id := balancerOf(s.getService("web")); id != "" {
		t.Fatalf("the id was written: %s", id)
	}
	made := s.owned(svc)
	s.resyncUntil("the pod is Ready", s.ready("a"))
	if got := s.owned(svc); !slices.Equal(got, made) || balancerOf(s.getService("web")) != made[0] {
		t.Errorf("want %v used, got %v", made, got)
	}
	s.awaitTargets(made[0], "TCP/80", target(s.getPod("a"), 80, 10))
	s.nothingLeft()
}

// "Finishes interrupted deletions": the function died between the listeners and the CLB,
// or before it let go of the Service.
func TestResyncFinishesDeletion(t *testing.T) {
	for _, action := range []string{"DeleteLoadBalancerListeners", "DeleteLoadBalancer"} {
		t.Run(action, func(t *testing.T) {
			s := newSpace(t)
			s.service("web")
			s.pods("a")
			s.awaitReady("a")
			lb := s.awaitBalancer("web")
			s.settled()
			withoutForwarder(t)
			s.deleteService("web")
			s.killedAt(action, s.syncs()[lb.ID])
			s.onlyResync()
			s.resyncUntil("everything is released", func() (bool, string) {
				_, err := s.client.CoreV1().Services(s.name).Get(t.Context(), "web", metav1.GetOptions{})
				_, there := s.balancer(lb.ID)
				return apierrors.IsNotFound(err) && !there, fmt.Sprintf("the Service: %v; its load balancer there: %v", err, there)
			})
			s.nothingLeft()
		})
	}
}

// "CLBs and listeners of this cluster that nobody wants any more go only when owned by
// tag or name and seen unwanted twice."
func TestResyncSweepsAtTheSecondSight(t *testing.T) {
	s := newSpace(t)
	foreign := s.existing("owner", "somebody")
	s.listener(foreign, "somebody-elses", "TCP", 9000)
	s.service("own")
	s.service("shared", with(desired.ExistingLB, foreign))
	own := s.awaitBalancer("own")
	s.awaitListeners(foreign, "TCP/80", "TCP/9000")
	s.settled()
	withoutForwarder(t)
	s.resync(false) // as the timer would have: it knows which CLBs are in use
	s.orphan("own")
	s.orphan("shared")
	s.onlyResync()

	there := func() string {
		var listeners []string
		lb, _ := s.balancer(foreign)
		for _, l := range lb.Listeners {
			listeners = append(listeners, l.Name)
		}
		_, ownThere := s.balancer(own.ID)
		return fmt.Sprintf("own %v, listeners of the other %d", ownThere, len(listeners))
	}
	const all = "own true, listeners of the other 2"
	first := s.resync(false)
	if got := there(); got != all {
		t.Fatalf("want nothing deleted at the first sight, got %s", got)
	}
	if plan := strings.Join(first.Plan, "; "); strings.Count(plan, "still unwanted") != 2 || !strings.Contains(plan, own.ID) || !strings.Contains(plan, foreign) {
		t.Errorf("want both named in the plan, got %s", plan)
	}
	seen := slices.Sorted(maps.Keys(s.memory()))
	if !slices.Contains(seen, own.ID) || !slices.ContainsFunc(seen, func(k string) bool { return strings.HasPrefix(k, foreign+".") }) {
		t.Errorf("want the first sight of both kept, got %v", seen)
	}
	if s.resync(false); there() != all {
		t.Fatalf("want nothing deleted moments later, got %s", there())
	}
	s.resyncUntil("what nobody wants is gone", func() (bool, string) {
		got := there()
		return got == "own false, listeners of the other 1", got
	})
	lb, ok := s.balancer(foreign)
	if !ok || len(lb.Listeners) != 1 || lb.Listeners[0].Name != "somebody-elses" {
		t.Errorf("want the other's load balancer and listener untouched, got %+v", lb)
	}
	s.nothingLeft()
	for key, value := range s.memory() {
		if strings.Contains(key+value, own.ID) || strings.Contains(key+value, foreign) {
			t.Errorf("want both forgotten, got %s: %s", key, value)
		}
	}
}

// A CLB that was made for somebody who is gone is left as it is while it carries a
// listener of somebody else's.
func TestResyncLeavesALoadBalancerWithOthersListeners(t *testing.T) {
	s := newSpace(t)
	s.service("own")
	own := s.awaitBalancer("own")
	s.settled()
	s.listener(own.ID, "somebody-elses", "TCP", 9000)
	withoutForwarder(t)
	s.resync(false)
	s.orphan("own")
	began := time.Now()
	s.resyncUntil("it has been unwanted for long", func() (bool, string) { return time.Since(began) > 13*time.Second, "" })
	lb, ok := s.balancer(own.ID)
	if !ok || !slices.ContainsFunc(lb.Listeners, func(l clb.Listener) bool { return l.Name == "somebody-elses" }) {
		t.Fatalf("want it and the listener of somebody else's left, got %+v", lb)
	}
	for _, l := range lb.Listeners {
		if l.Name == "somebody-elses" {
			q := api.NewDeleteListenerRequest()
			q.LoadBalancerId, q.ListenerId = &own.ID, &l.ID
			s.done(again(s, func() (*api.DeleteListenerResponse, error) { return s.cloud().DeleteListener(q) }).Response.RequestId)
		}
	}
	s.resyncUntil("it is gone", func() (bool, string) {
		_, there := s.balancer(own.ID)
		return !there, "still there"
	})
}

// "Dry run answers with the plan and touches nothing."
func TestResyncDryRun(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	s.pods("a", "b")
	s.awaitReady("a", "b")
	s.service("gone", selects("none"))
	lb, gone := s.awaitBalancer("web"), s.awaitBalancer("gone")
	s.settled()
	withoutForwarder(t)
	s.resync(false)
	s.orphan("gone")
	s.service("new")
	q := api.NewDeregisterTargetsRequest()
	q.LoadBalancerId, q.ListenerId = &lb.ID, &lb.Listeners[0].ID
	q.Targets = []*api.Target{{EniIp: new(s.getPod("a").Status.PodIP), Port: new(int64(80))}}
	s.done(again(s, func() (*api.DeregisterTargetsResponse, error) { return s.cloud().DeregisterTargets(q) }).Response.RequestId)
	s.onlyResync()

	versions, memory, began := s.versions(), s.memory(), time.Now()
	for range 2 {
		r := s.resync(true)
		plan := strings.Join(r.Plan, "; ")
		for _, want := range []string{"bind 1 targets of " + lb.ID, gone.ID, s.name + "/new"} {
			if !strings.Contains(plan, want) {
				t.Errorf("want %q in the plan, got %s", want, plan)
			}
		}
		if len(r.Writes) > 0 || r.Failure != nil {
			t.Errorf("want nothing written, got %+v", r)
		}
		for action := range r.Calls {
			if !strings.HasPrefix(action, "Describe") {
				t.Errorf("a dry run called %s", action)
			}
		}
	}
	for _, c := range s.CLB.Calls() {
		if c.Write && c.Time.After(began) && strings.Contains(c.Principal, string(event.Resync)) {
			t.Errorf("%s was called on %s by %s", c.Action, c.LoadBalancerID, c.Principal)
		}
	}
	if diff := cmp.Diff(versions, s.versions()); diff != "" {
		t.Errorf("a dry run wrote to objects: -before +after:\n%s", diff)
	}
	if diff := cmp.Diff(memory, s.memory()); diff != "" {
		t.Errorf("a dry run wrote what it remembers: -before +after:\n%s", diff)
	}
	s.resyncUntil("what was planned is done", func() (bool, string) {
		_, there := s.balancer(gone.ID)
		return !there && len(s.targets(lb.ID)["TCP/80"]) == 2 && len(s.getService("new").Status.LoadBalancer.Ingress) > 0, fmt.Sprintf("gone is there: %v", there)
	})
	s.nothingLeft()
}

// "Pods without their gate are reported."
func TestResyncReportsPodsWithoutGate(t *testing.T) {
	withoutForwarder(t)
	s := newSpace(t)
	s.service("web")
	s.pods("gated")
	s.pod("bare", ungated)
	s.pod("other", ungated, labelled("other"))
	s.onlyResync()
	s.resyncUntil("the pod is Ready", s.ready("gated"))
	s.awaitEvent("Service", "web", "PodsWithoutGate", "bare")
	for _, e := range s.events("Service", "web", "PodsWithoutGate") {
		if strings.Contains(e.Message, "other") || strings.Contains(e.Message, "gated,") {
			t.Errorf("want only the pod without a gate named, got %q", e.Message)
		}
	}
}
