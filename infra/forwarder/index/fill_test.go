package index

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

func TestFill(t *testing.T) {
	x := New(policy)
	for _, s := range []model.Service{svc("web", "lb-1"), svc("api", "lb-1", held, off), svc("new", ""), svc("odd", "lb-1", annotate(desired.DirectAccess, "maybe"))} {
		x.SetService(s)
	}
	ref := func(kind model.Kind, name string) event.Ref {
		return event.Ref{Kind: kind, Namespace: "default", Name: name}
	}
	web, api, fresh := ref(model.KindService, "web"), ref(model.KindService, "api"), ref(model.KindService, "new")
	many := work.Look{}
	for i := range event.MaxPods + 1 {
		many = many.Merge(work.Of(event.Pod{Namespace: "default", Name: fmt.Sprint("p", i), UID: "u"}))
	}
	one := work.Of(event.Pod{Namespace: "default", Name: "p", UID: "u"})
	cases := map[string]struct {
		reason  string
		key     work.Key
		look    work.Look
		want    event.Sync
		verdict Verdict
		moved   work.Key
	}{
		"Frontend": {
			reason: "all that is planned together, those that changed first",
			key:    work.Key{Function: event.Frontend, Partition: "lb-1"}, look: work.Look{Objects: []event.Ref{web}},
			want: event.Sync{LoadBalancers: []string{"lb-1"}, Objects: []event.Ref{web, api}},
		},
		"FrontendWithoutCLB": {
			reason: "the Service alone",
			key:    work.Key{Function: event.Frontend, Partition: "service/default/new"},
			want:   event.Sync{Objects: []event.Ref{fresh}},
		},
		"FrontendMoved": {
			reason: "the CLB has become known since",
			key:    work.Key{Function: event.Frontend, Partition: "service/default/web"}, verdict: Moved,
			moved: work.Key{Function: event.Frontend, Partition: "lb-1"},
		},
		"FrontendGone": {
			reason: "the Service went before it had anything",
			key:    work.Key{Function: event.Frontend, Partition: "service/default/nobody"}, verdict: Gone,
		},
		"BackendsOfOnePod": {
			reason: "held Services are planned too, to unbind",
			key:    work.Key{Function: event.Backends, Partition: "lb-1"}, look: one,
			want: event.Sync{LoadBalancers: []string{"lb-1"}, Objects: []event.Ref{api, web}, Pods: one.Pods()},
		},
		"BackendsOfTooMany": {
			reason: "more than an event may name is everything",
			key:    work.Key{Function: event.Backends, Partition: "lb-1"}, look: many,
			want: event.Sync{LoadBalancers: []string{"lb-1"}, Objects: []event.Ref{api, web}, All: true},
		},
		"BackendsGone": {
			reason: "nobody uses the CLB any more",
			key:    work.Key{Function: event.Backends, Partition: "lb-9"}, look: one, verdict: Gone,
		},
		"Bucket": {
			reason: "claimed Services alone, those without a CLB among them",
			key:    work.Key{Function: event.Readiness, Partition: "readiness/0"}, look: one,
			want: event.Sync{LoadBalancers: []string{"lb-1"}, Objects: []event.Ref{fresh, web}, Pods: one.Pods()},
		},
		"Namespace": {
			reason: "pods that nothing selects",
			key:    work.Key{Function: event.Readiness, Partition: "namespace/default"}, look: one,
			want: event.Sync{Namespaces: []string{"default"}, Pods: one.Pods()},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.look.Version = "7"
			got, verdict, moved := x.Fill(tc.key, tc.look)
			if verdict != tc.verdict || verdict == Moved && moved != tc.moved {
				t.Fatalf("%s: verdict %d (%v), want %d (%v)", tc.reason, verdict, moved, tc.verdict, tc.moved)
			}
			if verdict != Send {
				return
			}
			tc.want.ResourceVersion = "7"
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRoute(t *testing.T) {
	x := New(policy)
	x.SetService(svc("web", "lb-1"))
	x.SetService(svc("api", "lb-2"))
	x.SetPod(pod("a", "web"))
	x.SetPod(pod("b", "api"))
	x.SetPod(pod("c", "web", decided))
	cases := map[string]struct {
		reason string
		wake   event.Wake
		want   []string
	}{
		"Backends": {
			reason: "the CLB's partition",
			wake:   event.Wake{Function: event.Backends, Sync: event.Sync{LoadBalancers: []string{"lb-1"}, All: true}},
			want:   []string{"backends lb-1: all"},
		},
		"BackendsByService": {
			reason: "the CLB of the Service",
			wake:   event.Wake{Function: event.Backends, Sync: event.Sync{Objects: []event.Ref{{Namespace: "default", Name: "api"}}, All: true}},
			want:   []string{"backends lb-2: all"},
		},
		"ReadinessOfACLB": {
			reason: "the bucket holds other CLBs: only this one's waiting pods",
			wake:   event.Wake{Function: event.Readiness, Sync: event.Sync{LoadBalancers: []string{"lb-1"}, All: true}},
			want:   []string{"readiness readiness/0: uid-a@10.0.0.1"},
		},
		"ReadinessOfPods": {
			reason: "the pods named, met or not",
			wake:   event.Wake{Function: event.Readiness, Sync: event.Sync{Pods: []event.Pod{{Namespace: "default", Name: "c", UID: "uid-c"}}}},
			want:   []string{"readiness readiness/0: uid-c@10.0.0.1"},
		},
		"ReadinessOfAPodThatIsGone": {
			reason: "there is nothing to decide",
			wake:   event.Wake{Function: event.Readiness, Sync: event.Sync{Pods: []event.Pod{{Namespace: "default", Name: "a", UID: "uid-old"}}}},
			want:   []string{},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, text(x.Route(tc.wake))); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEverythingIsSentAtStart(t *testing.T) {
	x := New(policy)
	for i := range event.MaxReadinessCLBs + 1 {
		x.SetService(svc(fmt.Sprintf("s%02d", i), fmt.Sprintf("lb-%02d", i)))
	}
	x.SetService(svc("odd", "", annotate(desired.DirectAccess, "maybe")))
	x.SetPod(pod("loose", "nobody"))
	x.SetPod(pod("a", "s00"))
	got := map[event.Function]int{}
	for _, m := range x.Everything() {
		got[m.Function]++
	}
	want := map[event.Function]int{event.Frontend: event.MaxReadinessCLBs + 2, event.Backends: event.MaxReadinessCLBs + 1, event.Readiness: 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("partitions: one a CLB, two buckets, the namespace: -want +got\n%s", diff)
	}
}
