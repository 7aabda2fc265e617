package index

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// ing is a claimed Ingress over Service name that uses lb ("" for none yet).
func ing(name, lb string, edit ...func(*model.Ingress)) model.Ingress {
	i := model.Ingress{
		Front: model.Front{
			Kind: model.KindIngress, Namespace: "default", Name: name, UID: "uid-ingress-" + name, ResourceVersion: "11",
			Annotations: map[string]string{desired.IngressDirectAccess: "true"},
		},
		Rules: []model.IngressRule{{Field: "spec.rules[0].http.paths[0]", Path: "/", PathType: "Prefix", Backend: model.IngressBackend{Service: name, PortNumber: 80}}},
	}
	if lb != "" {
		i.Annotations[desired.IngressLoadBalancerID] = lb
	}
	for _, e := range edit {
		e(&i)
	}
	return i
}

// plain is a Service that is not ours: of type ClusterIP, as a trimmed cache has it.
func plain(name string, edit ...func(*model.Service)) model.Service {
	s := svc(name, "", edit...)
	s.Type, s.Annotations = "ClusterIP", nil
	return s
}

func note(k, v string) func(*model.Ingress) {
	return func(i *model.Ingress) { i.Annotations[k] = v }
}

func tls(secret string) func(*model.Ingress) {
	return func(i *model.Ingress) {
		i.TLS = []model.IngressTLS{{Hosts: []string{"a.example.com"}, Secret: secret}}
	}
}

// also adds a rule over another Service.
func also(service string) func(*model.Ingress) {
	return func(i *model.Ingress) {
		i.Rules = append(i.Rules, model.IngressRule{Path: "/" + service, Backend: model.IngressBackend{Service: service, PortNumber: 80}})
	}
}

func ingressOff(i *model.Ingress)   { delete(i.Annotations, desired.IngressDirectAccess) }
func ingressHeld(i *model.Ingress)  { i.Finalizers = []string{desired.IngressFinalizer} }
func ingressGoing(i *model.Ingress) { i.Deleting = true }
func otherPort(s *model.Service)    { s.Ports = []model.ServicePort{{Protocol: model.TCP, Port: 81}} }
func otherPods(s *model.Service)    { s.Selector = map[string]string{"app": "other"} }

func setIngress(i model.Ingress) change {
	return func(x *Index) []work.Mark { return x.SetIngress(i) }
}

func TestWhatAnIngressMarks(t *testing.T) {
	all := []string{"frontend lb-1:", "backends lb-1: all", "readiness readiness/0: uid-a@10.0.0.1"}
	over := []change{setPod(pod("a", "web")), set(plain("web")), setIngress(ing("web", "lb-1"))}
	checkMarks(t, map[string]markCase{
		"WithoutCLB": {
			reason: "frontend makes its CLB; the pods behind it are decided",
			before: over[:2],
			change: setIngress(ing("web", "")),
			want:   []string{"frontend ingress/default/web:", "readiness readiness/0: uid-a@10.0.0.1"},
		},
		"GetsItsCLB": {
			reason: "everything is to be bound there",
			before: append(slices.Clone(over[:2]), setIngress(ing("web", ""))),
			change: setIngress(ing("web", "lb-1")),
			want:   all,
		},
		"PlainServiceAlone": {
			reason: "a Service that nothing of ours names is not our business",
			before: over[:1],
			change: set(plain("web")),
			want:   []string{},
		},
		"ServiceComes": {
			reason: "the Ingress was there first",
			before: []change{over[0], over[2]},
			change: over[1],
			want:   all,
		},
		"ServiceGoes": {
			reason: "what it brought is unbound, and its pods are decided without it",
			before: over,
			change: func(x *Index) []work.Mark { return x.DeleteService("default", "web", "30") },
			want:   []string{"frontend lb-1:", "backends lb-1: all", "readiness namespace/default: uid-a@10.0.0.1"},
		},
		"ServicePortChanges": {
			reason: "a rule's port may mean another now",
			before: over,
			change: set(plain("web", otherPort)),
			want:   all,
		},
		"ServiceSelectsOthers": {
			reason: "the pods of both selectors are decided again",
			before: append([]change{setPod(pod("b", "other"))}, over...),
			change: set(plain("web", otherPods)),
			want:   []string{"frontend lb-1:", "backends lb-1: all", "readiness namespace/default: uid-a@10.0.0.1", "readiness readiness/0: uid-b@10.0.0.1"},
		},
		"ServiceOfAnotherName": {
			reason: "the Ingress doesn't name it",
			before: over,
			change: set(plain("api", otherPort)),
			want:   []string{},
		},
		"ServiceBehindBoth": {
			reason: "it is claimed itself and stands behind an Ingress: both places are looked at",
			before: []change{over[0], set(svc("web", "lb-2")), over[2]},
			change: set(svc("web", "lb-2", otherPort)),
			want:   []string{"frontend lb-1:", "frontend lb-2:", "backends lb-1: all", "backends lb-2: all", "readiness readiness/0: uid-a@10.0.0.1"},
		},
		"PodBehindSeveral": {
			reason: "each CLB that has it bound",
			before: []change{set(svc("web", "lb-2")), over[2], setIngress(ing("more", "lb-3", also("web")))},
			change: over[0],
			want: []string{
				"backends lb-1: uid-a@10.0.0.1", "backends lb-2: uid-a@10.0.0.1", "backends lb-3: uid-a@10.0.0.1",
				"readiness readiness/0: uid-a@10.0.0.1",
			},
		},
		"RuleOverAnotherService": {
			reason: "the pods behind the new rule are bound and decided",
			before: append([]change{setPod(pod("b", "api")), set(plain("api"))}, over...),
			change: setIngress(ing("web", "lb-1", also("api"))),
			want:   []string{"frontend lb-1:", "backends lb-1: all", "readiness readiness/0: uid-a@10.0.0.1 uid-b@10.0.0.1"},
		},
		"TLS": {
			reason: "a TLS entry moves rules to another listener",
			before: over,
			change: setIngress(ing("web", "lb-1", tls("cert"))),
			want:   all,
		},
		"Default": {
			reason: "what serves the rest is another Service",
			before: over,
			change: setIngress(ing("web", "lb-1", func(i *model.Ingress) {
				i.Default = &model.IngressBackend{Service: "web", PortNumber: 80}
			})),
			want: all,
		},
		"OwnNotes": {
			reason: "what frontend writes when all goes well is no news to it",
			before: over,
			change: setIngress(ing("web", "lb-1", ingressHeld, note(desired.IngressClientToken, "t"), note(desired.Rules, "[]"), func(i *model.Ingress) { i.Addresses = []string{"1.2.3.4"} })),
			want:   []string{},
		},
		"Refused": {
			reason: "a refusal changes what a gate waits for",
			before: over,
			change: setIngress(ing("web", "lb-1", note(desired.Refused, "{}"))),
			want:   all[2:],
		},
		"UsersNote": {
			reason: "an annotation of the user's may be about anything",
			before: over,
			change: setIngress(ing("web", "lb-1", note(desired.RuleMix, "true"))),
			want:   all,
		},
		"UnreadableAnnotation": {
			reason: "frontend says so in an Event",
			change: setIngress(ing("web", "", note(desired.IngressDirectAccess, "maybe"))),
			want:   []string{"frontend ingress/default/web:"},
		},
		"ForeignClass": {
			reason: "what isn't ours is left alone",
			change: setIngress(ing("web", "lb-1", func(i *model.Ingress) { i.Class = "nginx" })),
			want:   []string{},
		},
		"HeldTurnedOff": {
			reason: "what it holds is to be released, and its pods are decided without it",
			before: append(slices.Clone(over[:2]), setIngress(ing("web", "lb-1", ingressHeld))),
			change: setIngress(ing("web", "lb-1", ingressHeld, ingressOff)),
			want:   []string{"frontend lb-1:", "backends lb-1: all", "readiness namespace/default: uid-a@10.0.0.1"},
		},
		"Released": {
			reason: "nothing of it is left on the CLB",
			before: []change{setIngress(ing("web", "lb-1", ingressHeld, ingressGoing))},
			change: func(x *Index) []work.Mark { return x.DeleteIngress("default", "web", "30") },
			want:   []string{},
		},
		"LeavesASharedCLB": {
			reason: "the others there, of whatever kind, are planned without it",
			before: append([]change{set(svc("api", "lb-1"))}, over...),
			change: setIngress(ing("web", "lb-2")),
			want:   []string{"frontend lb-1:", "frontend lb-2:", "backends lb-1: all", "backends lb-2: all", "readiness readiness/0: uid-a@10.0.0.1"},
		},
	})
}

func TestSecretMarksTheIngressesThatNameIt(t *testing.T) {
	x := New(policy)
	x.SetIngress(ing("web", "lb-1", tls("cert")))
	x.SetIngress(ing("going", "lb-2", tls("cert"), ingressHeld, ingressGoing))
	x.SetIngress(ing("new", "", tls("fresh")))
	x.SetIngress(ing("open", "lb-3"))
	x.SetService(svc("cert", "lb-4"))
	cases := map[string]struct {
		reason string
		secret model.Ref
		want   []string
	}{
		"Named":          {"its certificate may be another", model.Ref{Namespace: "default", Name: "cert"}, []string{"frontend lb-1:"}},
		"WithoutCLB":     {"it was waited for", model.Ref{Namespace: "default", Name: "fresh"}, []string{"frontend ingress/default/new:"}},
		"Unnamed":        {"nobody uses it", model.Ref{Namespace: "default", Name: "other"}, []string{}},
		"OtherNamespace": {"a secret reaches no further", model.Ref{Namespace: "else", Name: "cert"}, []string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, text(x.SetSecret(tc.secret, "5"))); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
	if !x.NamesSecrets() {
		t.Error("secrets are named: want them watched")
	}
	for _, name := range []string{"web", "new"} {
		x.DeleteIngress("default", name, "30")
	}
	if x.NamesSecrets() {
		t.Error("only one that is going names a secret: want none watched")
	}
}

func TestIngressConfig(t *testing.T) {
	x := New(policy)
	x.SetIngress(ing("web", "lb-1", note(desired.IngressConfig, "slow")))
	x.SetIngress(ing("auto", "lb-2", note(desired.IngressConfigAuto, "true")))
	for config, want := range map[string]string{"slow": "frontend lb-1:", "auto" + desired.AutoIngressSuffix: "frontend lb-2:"} {
		if diff := cmp.Diff([]string{want}, text(x.SetConfig(model.Ref{Namespace: "default", Name: config}, "5"))); diff != "" {
			t.Errorf("%s: -want +got\n%s", config, diff)
		}
	}
}

func TestIngressClaims(t *testing.T) {
	x := New(policy)
	x.SetIngress(ing("web", ""))
	if diff := cmp.Diff([]string{"default"}, x.Namespaces()); diff != "" {
		t.Errorf("the namespace is ready for the Service to come: -want +got\n%s", diff)
	}
	if x.Claims("default", map[string]string{"app": "web"}) {
		t.Error("no Service is there yet: want no claim")
	}
	x.SetService(plain("web"))
	x.SetService(plain("loose"))
	x.SetIngress(ing("foreign", "", also("loose"), func(i *model.Ingress) { i.Class = "nginx" }))
	for app, want := range map[string]bool{"web": true, "loose": false} {
		if got := x.Claims("default", map[string]string{"app": app}); got != want {
			t.Errorf("pods of %s: claimed %t, want %t", app, got, want)
		}
	}
	x.SetIngress(ing("web", "", ingressHeld, ingressGoing))
	if x.Claims("default", map[string]string{"app": "web"}) || len(x.Namespaces()) > 0 {
		t.Error("it is going: want no claim")
	}
}

func TestFillNamesBothKinds(t *testing.T) {
	x := New(policy)
	x.SetService(svc("web", "lb-1"))
	x.SetService(plain("behind"))
	x.SetIngress(ing("web", "lb-1", also("behind")))
	x.SetIngress(ing("new", ""))
	service, ingress, fresh := event.Ref{Kind: model.KindService, Namespace: "default", Name: "web"}, event.Ref{Kind: model.KindIngress, Namespace: "default", Name: "web"}, event.Ref{Kind: model.KindIngress, Namespace: "default", Name: "new"}
	cases := map[string]struct {
		reason string
		key    work.Key
		look   work.Look
		want   event.Sync
	}{
		"Frontend":   {"the one that changed first", work.Key{Function: event.Frontend, Partition: "lb-1"}, work.Look{Objects: []event.Ref{service}}, event.Sync{LoadBalancers: []string{"lb-1"}, Objects: []event.Ref{service, ingress}}},
		"Backends":   {"not the Service behind the Ingress: what names it is planned", work.Key{Function: event.Backends, Partition: "lb-1"}, work.Look{All: true}, event.Sync{LoadBalancers: []string{"lb-1"}, Objects: []event.Ref{ingress, service}, All: true}},
		"WithoutCLB": {"the Ingress alone", work.Key{Function: event.Frontend, Partition: "ingress/default/new"}, work.Look{}, event.Sync{Objects: []event.Ref{fresh}}},
		"Bucket":     {"with and without CLB", work.Key{Function: event.Readiness, Partition: "readiness/0"}, work.Look{All: true}, event.Sync{LoadBalancers: []string{"lb-1"}, Objects: []event.Ref{fresh, ingress, service}, All: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.look.Version, tc.want.ResourceVersion = "7", "7"
			got, verdict, _ := x.Fill(tc.key, tc.look)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" || verdict != Send {
				t.Errorf("%s: verdict %d, -want +got\n%s", tc.reason, verdict, diff)
			}
		})
	}
	want := []string{"frontend ingress/default/new:", "backends lb-1: all"}
	got := append(text(x.Route(event.Wake{Function: event.Frontend, Sync: event.Sync{Objects: []event.Ref{fresh}}})),
		text(x.Route(event.Wake{Function: event.Backends, Sync: event.Sync{Objects: []event.Ref{ingress}, All: true}}))...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("woken by name: -want +got\n%s", diff)
	}
}

// TestIngressOverAServiceIsLikeAService draws the same history twice: of a claimed
// Service, and of a plain one with a claimed Ingress over it. The marks are the same,
// up to the names of the objects' own partitions.
func TestIngressOverAServiceIsLikeAService(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		direct, over := New(policy), New(policy)
		var lb string
		var claimed, isHeld, going bool
		app, port := "web", 80
		var lastService *model.Service
		var lastIngress *model.Ingress
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			var a, b []work.Mark
			pick := func(n int, what string) int { return rapid.IntRange(0, n).Draw(rt, what) }
			switch pick(7, "change") {
			case 0:
				p := pod(fmt.Sprint("p", pick(3, "pod")), rapid.SampledFrom([]string{"web", "other", "none"}).Draw(rt, "app"))
				p.IP = rapid.SampledFrom([]string{"", "10.0.0.1", "10.0.0.2"}).Draw(rt, "ip")
				p.ContainersReady, p.Deleting = pick(1, "ready") == 0, pick(3, "pod going") == 0
				p.UID += fmt.Sprint(pick(1, "uid"))
				a, b = direct.SetPod(p), over.SetPod(p)
			case 1:
				p := pod(fmt.Sprint("p", pick(3, "pod")), "web")
				p.UID += fmt.Sprint(pick(1, "uid"))
				a, b = direct.DeletePod(p), over.DeletePod(p)
			case 2:
				app = rapid.SampledFrom([]string{"web", "other"}).Draw(rt, "selector")
			case 3:
				port = 80 + pick(1, "port")
			case 4:
				lb = rapid.SampledFrom([]string{"", "lb-1", "lb-2"}).Draw(rt, "lb")
			case 5:
				claimed = !claimed
			case 6:
				isHeld = !isHeld
			case 7:
				going = !going
			}
			s := svc("web", lb, func(s *model.Service) {
				s.Selector, s.Ports = map[string]string{"app": app}, []model.ServicePort{{Protocol: model.TCP, Port: port}}
			})
			behind := plain("web", func(b *model.Service) { b.Selector, b.Ports = s.Selector, s.Ports })
			i := ing("web", lb)
			if !claimed {
				off(&s)
				ingressOff(&i)
			}
			if isHeld {
				held(&s)
				ingressHeld(&i)
			}
			s.Deleting, i.Deleting = going, going
			a = append(a, direct.SetService(s)...)
			// Each object is told of only when it has changed, as a watch does.
			tell := []func(){
				func() {
					if !cmp.Equal(lastService, &behind) {
						b, lastService = append(b, over.SetService(behind)...), &behind
					}
				},
				func() {
					if !cmp.Equal(lastIngress, &i) {
						b, lastIngress = append(b, over.SetIngress(i)...), &i
					}
				},
			}
			if pick(1, "order") == 0 {
				slices.Reverse(tell)
			}
			for _, t := range tell {
				t()
			}
			asService := func(marks []work.Mark) []string {
				lines := text(marks)
				for n, line := range lines {
					lines[n] = strings.Replace(line, "ingress/", "service/", 1)
				}
				slices.Sort(lines) // the first time, two changes bring one's marks
				return slices.Compact(lines)
			}
			if diff := cmp.Diff(asService(a), asService(b)); diff != "" {
				rt.Fatalf("claimed %t, held %t, going %t, lb %q, app %s, port %d: -Service +Ingress\n%s", claimed, isHeld, going, lb, app, port, diff)
			}
		}
	})
}
