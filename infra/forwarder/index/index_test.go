package index

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

var policy = desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation, Network: desired.VPCCNI}

// svc is a claimed Service that selects app=name and uses lb ("" for none yet).
func svc(name, lb string, edit ...func(*model.Service)) model.Service {
	s := model.Service{
		Front: model.Front{
			Kind: model.KindService, Namespace: "default", Name: name, UID: "uid-" + name, ResourceVersion: "10",
			Annotations: map[string]string{desired.DirectAccess: "true"},
		},
		Type:     "LoadBalancer",
		Selector: map[string]string{"app": name},
		Ports:    []model.ServicePort{{Protocol: model.TCP, Port: 80, TargetPort: 80}},
	}
	if lb != "" {
		s.Annotations[desired.LoadBalancerID] = lb
	}
	for _, e := range edit {
		e(&s)
	}
	return s
}

// pod is a gated, undecided pod of app with an address.
func pod(name, app string, edit ...func(*model.Pod)) model.Pod {
	p := model.Pod{
		Namespace: "default", Name: name, UID: "uid-" + name, ResourceVersion: "20", Phase: "Running",
		IP: "10.0.0.1", Labels: map[string]string{"app": app}, Gated: true,
	}
	for _, e := range edit {
		e(&p)
	}
	return p
}

func annotate(k, v string) func(*model.Service) {
	return func(s *model.Service) { s.Annotations[k] = v }
}
func off(s *model.Service)     { delete(s.Annotations, desired.DirectAccess) }
func held(s *model.Service)    { s.Finalizers = []string{desired.Finalizer} }
func going(s *model.Service)   { s.Deleting = true }
func decided(p *model.Pod)     { p.Gate = &model.Condition{Status: true} }
func undecided(p *model.Pod)   { p.Gate = &model.Condition{Reason: "waiting"} }
func ready(p *model.Pod)       { p.ContainersReady = true }
func deleting(p *model.Pod)    { p.Deleting = true }
func nowhere(p *model.Pod)     { p.IP = "" }
func successor(p *model.Pod)   { p.UID = "uid-2"; p.IP = "10.0.0.2" }
func elsewhere(p *model.Pod)   { p.IP = "10.0.0.9" }
func resandboxed(p *model.Pod) { p.SandboxSince = time.Unix(200, 0) }
func sandboxed(p *model.Pod)   { p.SandboxSince = time.Unix(100, 0) }

// text writes marks as a reader would: function, partition, what.
func text(marks []work.Mark) []string {
	out := []string{}
	for _, m := range marks {
		s := m.Key.String() + ":"
		if m.Look.All {
			s += " all"
		}
		for _, p := range m.Look.Pods() {
			s += fmt.Sprintf(" %s@%s", p.UID, p.IP)
		}
		if m.Look.Urgent {
			s += " urgent"
		}
		out = append(out, s)
	}
	return out
}

// change is something that the index is told.
type change func(*Index) []work.Mark

func set(s model.Service) change { return func(x *Index) []work.Mark { return x.SetService(s) } }
func setPod(p model.Pod) change  { return func(x *Index) []work.Mark { return x.SetPod(p) } }
func gone(p model.Pod) change    { return func(x *Index) []work.Mark { return x.DeletePod(p) } }

// markCase says what a change marks after others.
type markCase struct {
	reason string
	before []change
	change change
	want   []string
}

// checkMarks tells each its change twice: the second time there is no news.
func checkMarks(t *testing.T, cases map[string]markCase) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			x := New(policy)
			for _, b := range tc.before {
				b(x)
			}
			if diff := cmp.Diff(tc.want, text(tc.change(x))); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
			if again := text(tc.change(x)); len(again) > 0 {
				t.Errorf("the same state again marks %v, want nothing", again)
			}
		})
	}
}

func TestWhatAChangeMarks(t *testing.T) {
	checkMarks(t, map[string]markCase{
		"NewServiceWithoutCLB": {
			reason: "frontend makes its CLB; until there is one, the partition is the Service",
			change: set(svc("web", "")),
			want:   []string{"frontend service/default/web:"},
		},
		"ServiceGetsItsCLB": {
			reason: "everything is to be bound there, and the waiting pods have other bindings",
			before: []change{setPod(pod("a", "web")), set(svc("web", ""))},
			change: set(svc("web", "lb-1")),
			want:   []string{"frontend lb-1:", "backends lb-1: all", "readiness readiness/0: uid-a@10.0.0.1"},
		},
		"OwnNotes": {
			reason: "what frontend writes when all goes well is no news to it",
			before: []change{set(svc("web", "lb-1"))},
			change: set(svc("web", "lb-1", held, annotate(desired.ClientToken, "t"), func(s *model.Service) { s.Addresses = []string{"1.2.3.4"} })),
			want:   []string{},
		},
		"Refused": {
			reason: "a refusal changes what a gate waits for",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web"))},
			change: set(svc("web", "lb-1", annotate(desired.Refused, "{}"))),
			want:   []string{"readiness readiness/0: uid-a@10.0.0.1"},
		},
		"AddressTakenAway": {
			reason: "somebody has cleared the status: frontend writes it again",
			before: []change{set(svc("web", "lb-1", func(s *model.Service) { s.Addresses = []string{"1.2.3.4"} }))},
			change: set(svc("web", "lb-1")),
			want:   []string{"frontend lb-1:"},
		},
		"FinalizerTakenAway": {
			reason: "without it the Service could go and leave its listeners behind",
			before: []change{set(svc("web", "lb-1", held))},
			change: set(svc("web", "lb-1")),
			want:   []string{"frontend lb-1:"},
		},
		"UnreadableAnnotation": {
			reason: "frontend says so in an Event",
			change: set(svc("web", "", annotate(desired.DirectAccess, "maybe"))),
			want:   []string{"frontend service/default/web:"},
		},
		"ForeignService": {
			reason: "what isn't ours is left alone",
			change: set(svc("web", "lb-1", off)),
			want:   []string{},
		},
		"HeldServiceTurnedOff": {
			reason: "what it holds is to be released, and its pods are decided without it",
			before: []change{set(svc("web", "lb-1", held)), setPod(pod("a", "web"))},
			change: set(svc("web", "lb-1", held, off)),
			want:   []string{"frontend lb-1:", "backends lb-1: all", "readiness namespace/default: uid-a@10.0.0.1"},
		},
		"HeldServiceDeleted": {
			reason: "the same when it is being deleted",
			before: []change{set(svc("web", "lb-1", held)), setPod(pod("a", "web"))},
			change: set(svc("web", "lb-1", held, going)),
			want:   []string{"frontend lb-1:", "backends lb-1: all", "readiness namespace/default: uid-a@10.0.0.1"},
		},
		"ServiceReleased": {
			reason: "nothing of it is left on the CLB",
			before: []change{set(svc("web", "lb-1", held, going))},
			change: func(x *Index) []work.Mark { return x.DeleteService("default", "web", "30") },
			want:   []string{},
		},
		"ServiceLeavesASharedCLB": {
			reason: "the others there are planned without it, it is planned at its new one",
			before: []change{set(svc("web", "lb-1")), set(svc("api", "lb-1"))},
			change: set(svc("web", "lb-2")),
			want:   []string{"frontend lb-1:", "frontend lb-2:", "backends lb-1: all", "backends lb-2: all"},
		},
		"SelectorChanged": {
			reason: "the pods of both selectors are decided again",
			before: []change{setPod(pod("a", "web")), setPod(pod("b", "other")), set(svc("web", "lb-1"))},
			change: set(svc("web", "lb-1", func(s *model.Service) { s.Selector = map[string]string{"app": "other"} })),
			want:   []string{"frontend lb-1:", "backends lb-1: all", "readiness namespace/default: uid-a@10.0.0.1", "readiness readiness/0: uid-b@10.0.0.1"},
		},
		"PodWithoutAddress": {
			reason: "it can't have a target",
			before: []change{set(svc("web", "lb-1"))},
			change: setPod(pod("a", "web", nowhere)),
			want:   []string{},
		},
		"PodGetsItsAddress": {
			reason: "it is bound early, and decided",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web", nowhere))},
			change: setPod(pod("a", "web")),
			want:   []string{"backends lb-1: uid-a@10.0.0.1", "readiness readiness/0: uid-a@10.0.0.1"},
		},
		"PodBecomesReady": {
			reason: "its weight rises",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web"))},
			change: setPod(pod("a", "web", ready)),
			want:   []string{"backends lb-1: uid-a@10.0.0.1", "readiness readiness/0: uid-a@10.0.0.1"},
		},
		"DecidedPodBecomesUnready": {
			reason: "its weight falls; a gate once met stays",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web", ready, decided))},
			change: setPod(pod("a", "web", decided)),
			want:   []string{"backends lb-1: uid-a@10.0.0.1"},
		},
		"LiveService": {
			reason: "a gate that follows health is decided again even when met",
			before: []change{set(svc("web", "lb-1", annotate(desired.Readiness, "live"))), setPod(pod("a", "web", ready, decided))},
			change: setPod(pod("a", "web", decided)),
			want:   []string{"backends lb-1: uid-a@10.0.0.1", "readiness readiness/0: uid-a@10.0.0.1"},
		},
		"OurOwnCondition": {
			reason: "writing why a gate waits is no news",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web"))},
			change: setPod(pod("a", "web", undecided)),
			want:   []string{},
		},
		"GateTakenAway": {
			reason: "somebody has reset the condition",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web", decided))},
			change: setPod(pod("a", "web", undecided)),
			want:   []string{"readiness readiness/0: uid-a@10.0.0.1"},
		},
		"AnotherSandbox": {
			reason: "a gate met by the old sandbox says nothing of the new one",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web", decided, sandboxed))},
			change: setPod(pod("a", "web", decided, resandboxed)),
			want:   []string{"readiness readiness/0: uid-a@10.0.0.1"},
		},
		"AnotherAddress": {
			reason: "the target at the old address goes, one at the new comes",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web", decided))},
			change: setPod(pod("a", "web", decided, elsewhere)),
			want:   []string{"backends lb-1: uid-a@10.0.0.1 uid-a@10.0.0.9", "readiness readiness/0: uid-a@10.0.0.9"},
		},
		"PodRelabelled": {
			reason: "the CLB that no longer selects it unbinds it, and its gate has no binding",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web"))},
			change: setPod(pod("a", "loose")),
			want:   []string{"backends lb-1: uid-a@10.0.0.1", "readiness namespace/default: uid-a@10.0.0.1"},
		},
		"PodOfTwoCLBs": {
			reason: "each CLB has a target of it; it is decided once",
			before: []change{set(svc("web", "lb-1")), set(svc("int", "lb-2", func(s *model.Service) { s.Selector = map[string]string{"app": "web"} }))},
			change: setPod(pod("a", "web")),
			want:   []string{"backends lb-1: uid-a@10.0.0.1", "backends lb-2: uid-a@10.0.0.1", "readiness readiness/0: uid-a@10.0.0.1"},
		},
		"PodIsGoing": {
			reason: "traffic must be taken off it before anything else",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web"))},
			change: setPod(pod("a", "web", deleting)),
			want:   []string{"backends lb-1: uid-a@10.0.0.1 urgent"},
		},
		"PodIsGone": {
			reason: "it is named with what it was last known by",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web", deleting))},
			change: gone(pod("a", "web", deleting)),
			want:   []string{"backends lb-1: uid-a@10.0.0.1 urgent"},
		},
		"PodReplacedByItsNamesake": {
			reason: "a StatefulSet's: the old UID is unbound, the new one bound",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web"))},
			change: setPod(pod("a", "web", successor)),
			want:   []string{"backends lb-1: uid-2@10.0.0.2 uid-a@10.0.0.1 urgent", "readiness readiness/0: uid-2@10.0.0.2"},
		},
		"LateTombstoneOfANamesake": {
			reason: "the successor is not gone",
			before: []change{set(svc("web", "lb-1")), setPod(pod("a", "web", successor))},
			change: gone(pod("a", "web")),
			want:   []string{},
		},
		"UnselectedGatedPod": {
			reason: "its gate must not wait for ever",
			change: setPod(pod("a", "loose")),
			want:   []string{"readiness namespace/default: uid-a@10.0.0.1"},
		},
		"UngatedPod": {
			reason: "nobody waits for it",
			before: []change{set(svc("web", "lb-1"))},
			change: setPod(pod("a", "loose", func(p *model.Pod) { p.Gated = false })),
			want:   []string{},
		},
	})
}

func TestConfigMarksTheServicesThatNameIt(t *testing.T) {
	x := New(policy)
	x.SetService(svc("web", "lb-1", annotate(desired.ServiceConfig, "slow")))
	x.SetService(svc("api", "lb-2"))
	x.SetService(svc("auto", "", annotate(desired.ServiceConfigAuto, "true")))
	cases := map[string]struct {
		reason string
		config string
		want   []string
	}{
		"Named":   {"its listeners are set anew", "slow", []string{"frontend lb-1:"}},
		"Auto":    {"the one made for a Service has a name of its own", "auto" + desired.AutoConfigSuffix, []string{"frontend service/default/auto:"}},
		"Unnamed": {"nobody uses it", "fast", []string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, text(x.SetConfig(model.Ref{Namespace: "default", Name: tc.config}, "5"))); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

// TestIndexForgetsWhatIsGone draws histories. At every time a bucket holds at most
// what one call takes, each CLB of a claimed Service has exactly one, and the index
// says the same as one that was told only of the end.
func TestIndexForgetsWhatIsGone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := New(policy)
		services := map[string]model.Service{}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			name := fmt.Sprint("s", rapid.IntRange(0, 40).Draw(rt, "service"))
			if rapid.IntRange(0, 4).Draw(rt, "kind") == 0 {
				x.DeleteService("default", name, "30")
				delete(services, name)
				continue
			}
			lb := rapid.SampledFrom([]string{"", "lb-shared", "lb-" + name}).Draw(rt, "lb")
			s := svc(name, lb)
			if rapid.IntRange(0, 3).Draw(rt, "held") == 0 {
				held(&s)
				off(&s)
			}
			x.SetService(s)
			services[name] = s
		}
		fresh := New(policy)
		for _, name := range slices.Sorted(maps.Keys(services)) {
			fresh.SetService(services[name])
		}
		want, got := map[string]bool{}, map[string]bool{}
		for k := range fresh.buckets.of {
			want[k] = true
		}
		for k := range x.buckets.of {
			got[k] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("occupants: -want +got\n%s", diff)
		}
		for n, m := range x.buckets.members {
			if len(m) > event.MaxReadinessCLBs {
				rt.Errorf("bucket %d holds %d", n, len(m))
			}
		}
		if diff := cmp.Diff(fresh.Namespaces(), x.Namespaces()); diff != "" {
			rt.Errorf("namespaces: -want +got\n%s", diff)
		}
		if len(x.used["default"]) != len(fresh.used["default"]) || len(x.balancers) != len(fresh.balancers) {
			rt.Errorf("holds %d Services and %d CLBs, want %d and %d", len(x.used["default"]), len(x.balancers), len(fresh.used["default"]), len(fresh.balancers))
		}
	})
}
