package desired

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/model"
)

var created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func pod(uid, ip string, set ...func(*model.Pod)) *model.Pod {
	p := &model.Pod{
		Namespace: "default", Name: "nginx-" + uid[:1], UID: uid, IP: ip, Phase: "Running", ContainersReady: true,
		Labels: map[string]string{"app": "nginx"}, Created: created, Started: created,
	}
	for _, f := range set {
		f(p)
	}
	return p
}

func deleting(p *model.Pod)   { p.Deleting = true }
func warming(p *model.Pod)    { p.ContainersReady, p.Phase = false, "Pending" }
func terminated(p *model.Pod) { p.AllTerminated = true }
func phase(s string) func(*model.Pod) {
	return func(p *model.Pod) { p.Phase = s }
}
func newer(p *model.Pod) { p.Created = created.Add(time.Second) }
func annotated(k, v string) func(*model.Pod) {
	return func(p *model.Pod) { p.Annotations = map[string]string{k: v} }
}

func TestWeight(t *testing.T) {
	cases := map[string]struct {
		reason, value string
		want          int
		problem       bool
	}{
		"Plain":    {reason: "a number", value: "50", want: 50},
		"Zero":     {reason: "no traffic by wish", value: "0", want: 0},
		"Most":     {reason: "the largest", value: "100", want: 100},
		"Spaces":   {reason: "people leave spaces", value: " 7 ", want: 7},
		"TooMuch":  {reason: "out of range is the default, and said", value: "101", want: 10, problem: true},
		"Negative": {reason: "out of range is the default, and said", value: "-1", want: 10, problem: true},
		"Fraction": {reason: "not a whole number", value: "1.5", want: 10, problem: true},
		"Empty":    {reason: "not a number", value: "", want: 10, problem: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, problem := Weight(pod(uidA, "10.0.0.1", annotated(CustomWeight, tc.value)), model.KindService)
			if got != tc.want || (problem != nil) != tc.problem {
				t.Errorf("%s: %q want %d and problem %t, got %d and %v", tc.reason, tc.value, tc.want, tc.problem, got, problem)
			}
		})
	}
	if got, problem := Weight(pod(uidA, "10.0.0.1"), model.KindService); got != model.DefaultWeight || problem != nil {
		t.Errorf("unset is the default and no problem, got %d and %v", got, problem)
	}
}

func TestOwners(t *testing.T) {
	const ip = "10.0.0.1"
	cases := map[string]struct {
		reason string
		pods   []*model.Pod
		// want is the UID of the address's owner.
		want string
	}{
		"One":             {reason: "nobody else claims it", pods: []*model.Pod{pod(uidA, ip)}, want: uidA},
		"NoIP":            {reason: "a pod without an address owns none", pods: []*model.Pod{pod(uidA, "")}},
		"Newer":           {reason: "of two the newer", pods: []*model.Pod{pod(uidB, ip), pod(uidA, ip, newer)}, want: uidA},
		"StayingFirst":    {reason: "the one that stays, though older", pods: []*model.Pod{pod(uidA, ip), pod(uidB, ip, newer, deleting)}, want: uidA},
		"BothGoing":       {reason: "of two that go the newer", pods: []*model.Pod{pod(uidA, ip, newer, deleting), pod(uidB, ip, deleting)}, want: uidA},
		"SameSecond":      {reason: "the higher UID, so that it is always the same", pods: []*model.Pod{pod(uidA, ip), pod(uidB, ip)}, want: uidB},
		"Failed":          {reason: "an ended pod owns none", pods: []*model.Pod{pod(uidA, ip), pod(uidB, ip, newer, phase("Failed"))}, want: uidA},
		"Succeeded":       {reason: "an ended pod owns none", pods: []*model.Pod{pod(uidA, ip, phase("Succeeded"))}},
		"AllTerminated":   {reason: "nor one whose containers are all gone", pods: []*model.Pod{pod(uidA, ip, deleting, terminated)}},
		"TerminatedNewer": {reason: "even if it is the newer", pods: []*model.Pod{pod(uidA, ip), pod(uidB, ip, newer, deleting, terminated)}, want: uidA},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for range 2 { // in either order
				got := ""
				if p := Owners(tc.pods)[ip]; p != nil {
					got = p.UID
				}
				if got != tc.want {
					t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
				}
				slices.Reverse(tc.pods)
			}
		})
	}
}

// TestTargets goes through the table over Targets row by row.
func TestTargets(t *testing.T) {
	place := model.Place{Listener: "lbl-1"}
	named := model.ServicePort{Protocol: model.TCP, Port: 80, TargetName: "web"}
	declares := func(name string, protocol model.Protocol, port int) func(*model.Pod) {
		return func(p *model.Pod) {
			p.Ports = append(p.Ports, model.ContainerPort{Name: name, Port: port, Protocol: protocol})
		}
	}
	wanted := func(ip string, port, weight int, bind bool) []model.Wanted {
		return []model.Wanted{{
			Target: model.Target{Place: place, Address: model.Address{IP: ip, Port: port}, Weight: weight, Tag: uidA},
			Bind:   bind, Pod: model.Ref{Namespace: "default", Name: "nginx-a"}, Started: created,
		}}
	}
	cases := map[string]struct {
		reason string
		pod    *model.Pod
		port   *model.ServicePort
		want   []model.Wanted
	}{
		"Warming":         {reason: "has an IP, not yet ContainersReady: bound early at weight 0", pod: pod(uidA, "10.0.0.1", warming), want: wanted("10.0.0.1", 8080, 0, true)},
		"WarmingCustom":   {reason: "its own weight comes when it serves", pod: pod(uidA, "10.0.0.1", warming, annotated(CustomWeight, "50")), want: wanted("10.0.0.1", 8080, 0, true)},
		"Ready":           {reason: "ContainersReady: weight 10", pod: pod(uidA, "10.0.0.1"), want: wanted("10.0.0.1", 8080, 10, true)},
		"ReadyCustom":     {reason: "ContainersReady: its own weight", pod: pod(uidA, "10.0.0.1", annotated(CustomWeight, "50")), want: wanted("10.0.0.1", 8080, 50, true)},
		"ReadyBadWeight":  {reason: "a weight that can't be read is the default", pod: pod(uidA, "10.0.0.1", annotated(CustomWeight, "lots")), want: wanted("10.0.0.1", 8080, 10, true)},
		"Deleting":        {reason: "deletionTimestamp set: weight 0, never newly bound", pod: pod(uidA, "10.0.0.1", deleting), want: wanted("10.0.0.1", 8080, 0, false)},
		"AllTerminated":   {reason: "nothing is behind the address", pod: pod(uidA, "10.0.0.1", deleting, terminated)},
		"Failed":          {reason: "ended", pod: pod(uidA, "10.0.0.1", phase("Failed"))},
		"Succeeded":       {reason: "ended", pod: pod(uidA, "10.0.0.1", phase("Succeeded"))},
		"NoIP":            {reason: "nothing to bind yet", pod: pod(uidA, "", warming)},
		"OtherLabels":     {reason: "not selected", pod: pod(uidA, "10.0.0.1", func(p *model.Pod) { p.Labels = map[string]string{"app": "redis"} })},
		"OtherNamespace":  {reason: "not selected", pod: pod(uidA, "10.0.0.1", func(p *model.Pod) { p.Namespace = "other" })},
		"HostNetwork":     {reason: "not to be reached by its own address", pod: pod(uidA, "10.0.0.1", func(p *model.Pod) { p.HostNetwork = true })},
		"NamedPort":       {reason: "looked up in the pod", pod: pod(uidA, "10.0.0.1", declares("web", model.TCP, 9090)), port: &named, want: wanted("10.0.0.1", 9090, 10, true)},
		"NamedPortOfUDP":  {reason: "a port of the same name and another protocol isn't it", pod: pod(uidA, "10.0.0.1", declares("web", model.UDP, 9090)), port: &named},
		"NamedPortAbsent": {reason: "no such port in this pod", pod: pod(uidA, "10.0.0.1"), port: &named},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			svc := service(nil)
			sp := svc.Ports[0]
			if tc.port != nil {
				sp = *tc.port
			}
			got := Targets(place, behind(svc, sp), Owners([]*model.Pod{tc.pod}), Policy{Network: VPCCNI})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// behind is the backing of a Service's own port.
func behind(svc *model.Service, sp model.ServicePort) Backing {
	return Backing{Front: &svc.Front, Service: svc, Port: sp}
}

func TestTargetsBehindIngress(t *testing.T) {
	svc := service(nil)
	p := pod(uidA, "10.0.0.1", func(p *model.Pod) {
		p.Annotations = map[string]string{CustomWeight: "20", IngressCustomWeight: "70"}
	})
	b := behind(svc, svc.Ports[0])
	b.Front = &model.Front{Kind: model.KindIngress}
	got := Targets(model.Place{}, b, Owners([]*model.Pod{p}), Policy{Network: VPCCNI})
	if len(got) != 1 || got[0].Weight != 70 {
		t.Errorf("behind an Ingress the Ingress's weight counts: %+v", got)
	}
	b.Service = nil
	if got := Targets(model.Place{}, b, Owners([]*model.Pod{p}), Policy{Network: VPCCNI}); len(got) != 0 {
		t.Errorf("a place without a Service has no targets, got %+v", got)
	}
}

func TestTargetsNoSelector(t *testing.T) {
	svc := service(nil, func(s *model.Service) { s.Selector = nil })
	if got := Targets(model.Place{}, behind(svc, svc.Ports[0]), Owners([]*model.Pod{pod(uidA, "10.0.0.1")}), Policy{Network: VPCCNI}); len(got) != 0 {
		t.Errorf("an empty selector selects nothing, got %v", got)
	}
}

// TestTargetsLaws: at most one target per address, in order, each of a pod that
// owns it; and the order of pods means nothing.
func TestTargetsLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pods []*model.Pod
		for range rapid.IntRange(0, 8).Draw(t, "pods") {
			uid := rapid.StringMatching(`[0-9a-f]{8}-0000-4000-8000-000000000000`).Draw(t, "uid")
			p := pod(uid, rapid.SampledFrom([]string{"", "10.0.0.1", "10.0.0.2"}).Draw(t, "ip"))
			p.Deleting, p.AllTerminated = rapid.Bool().Draw(t, "deleting"), rapid.Bool().Draw(t, "terminated")
			p.Phase = rapid.SampledFrom([]string{"Pending", "Running", "Failed"}).Draw(t, "phase")
			p.Created = created.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Second)
			if !slices.ContainsFunc(pods, func(q *model.Pod) bool { return q.UID == uid }) {
				pods = append(pods, p)
			}
		}
		svc := service(nil)
		of := func(pods []*model.Pod) []model.Wanted {
			return Targets(model.Place{Listener: "l"}, behind(svc, svc.Ports[0]), Owners(pods), Policy{Network: VPCCNI})
		}
		got := of(pods)
		for i := 1; i < len(got); i++ {
			if got[i-1].Key().Compare(got[i].Key()) >= 0 {
				t.Fatalf("%s does not come before %s", got[i-1].Key(), got[i].Key())
			}
		}
		for _, w := range got {
			for _, p := range pods {
				rival := p.IP == w.IP && !p.Terminal() && !p.AllTerminated
				if rival && w.Tag != p.UID && !p.Deleting && !w.Bind {
					t.Fatalf("%s is %s's, which is going, though %s stays", w.Key(), w.Tag, p.UID)
				}
			}
		}
		if diff := cmp.Diff(got, of(rapid.Permutation(pods).Draw(t, "order"))); diff != "" {
			t.Fatalf("the order of pods matters: -want +got:\n%s", diff)
		}
	})
}
