package index

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

func tokened(p *model.Pod) { p.Annotations = map[string]string{model.DrainToken: "secret"} }

func TestPodByToken(t *testing.T) {
	x := New(policy)
	x.SetPod(pod("a", "web", tokened))
	x.SetPod(pod("b", "web"))
	cases := map[string]struct {
		reason, namespace, token, want string
	}{
		"Known":     {"its own", "default", "secret", "a"},
		"Namespace": {"in another namespace", "else", "secret", ""},
		"Other":     {"nobody's", "default", "secrets", ""},
		"None":      {"pods without one aren't found by none", "default", "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got, ok := x.PodByToken(tc.namespace, tc.token); got.Name != tc.want || ok != (tc.want != "") {
				t.Errorf("%s: want %q, got %q, %t", tc.reason, tc.want, got.Name, ok)
			}
		})
	}
	x.DeletePod(pod("a", "web", tokened))
	if got, ok := x.PodByToken("default", "secret"); ok {
		t.Errorf("gone, and found: %+v", got)
	}
}

func TestDrainMarks(t *testing.T) {
	cases := map[string]struct {
		reason string
		before []change
		pod    model.Pod
		want   []string
	}{
		"Served":  {"by each load balancer of its own", []change{set(svc("web", "lb-1"))}, pod("a", "web"), []string{"backends lb-1: uid-a@10.0.0.1 urgent"}},
		"Two":     {"of two Services", []change{set(svc("web", "lb-1")), set(svc("two", "lb-2", func(s *model.Service) { s.Selector = map[string]string{"app": "web"} }))}, pod("a", "web"), []string{"backends lb-1: uid-a@10.0.0.1 urgent", "backends lb-2: uid-a@10.0.0.1 urgent"}},
		"Waiting": {"no load balancer yet", []change{set(svc("web", ""))}, pod("a", "web"), []string{}},
		"Others":  {"nothing selects it", []change{set(svc("web", "lb-1"))}, pod("a", "else"), []string{}},
		"Nowhere": {"it has no address", []change{set(svc("web", "lb-1"))}, pod("a", "web", nowhere), []string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			x := New(policy)
			for _, b := range tc.before {
				b(x)
			}
			x.SetPod(tc.pod)
			marks := x.Drain(&tc.pod, "app", "c-1")
			if diff := cmp.Diff(tc.want, text(marks)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			for _, m := range marks {
				if got := m.Look.Pods()[0].Draining; got != "app=c-1" {
					t.Errorf("%s: it says %q", tc.reason, got)
				}
			}
		})
	}
}

// TestFollow: who follows a pod hears of its changes, and of no others.
func TestFollow(t *testing.T) {
	x := New(policy)
	x.SetPod(pod("a", "web"))
	changed, done := x.Follow("uid-a")
	heard := func() bool {
		select {
		case <-changed:
			return true
		default:
			return false
		}
	}
	x.SetPod(pod("b", "web"))
	if heard() {
		t.Error("another pod's change was heard")
	}
	x.SetPod(pod("a", "web", ready, func(p *model.Pod) { p.ResourceVersion = "30" }))
	x.SetPod(pod("a", "web", func(p *model.Pod) { p.ResourceVersion = "31" }))
	if !heard() || heard() {
		t.Error("want two changes heard as one")
	}
	x.DeletePod(pod("a", "web", func(p *model.Pod) { p.ResourceVersion = "32" }))
	if !heard() {
		t.Error("its end was not heard")
	}
	done()
	x.SetPod(pod("a", "web", func(p *model.Pod) { p.ResourceVersion = "33" }))
	if heard() {
		t.Error("heard after the end")
	}
}
