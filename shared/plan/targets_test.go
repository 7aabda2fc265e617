package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

// UIDs of three pods, and the place of the tables below.
const (
	uidA = "aaaaaaaa-0000-4000-8000-000000000001"
	uidB = "bbbbbbbb-0000-4000-8000-000000000002"
	uidC = "cccccccc-0000-4000-8000-000000000003"
)

var (
	here    = model.Place{Listener: "lbl-here"}
	there   = model.Place{Listener: "lbl-there"}
	started = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func target(ip, tag string, weight int) model.Target {
	return model.Target{Place: here, Address: model.Address{IP: ip, Port: 80}, Weight: weight, Tag: tag}
}

// registered is target with the time of its registration, relative to the pods' start.
func registered(t model.Target, after time.Duration) model.Target {
	t.Registered = started.Add(after)
	return t
}

func at(t model.Target, p model.Place) model.Target {
	t.Place = p
	return t
}

func serving(ip, tag string) model.Wanted {
	return model.Wanted{Target: target(ip, tag, 10), Bind: true, Started: started}
}

func warming(ip, tag string) model.Wanted {
	return model.Wanted{Target: target(ip, tag, 0), Bind: true, Started: started}
}

func leaving(ip, tag string) model.Wanted {
	return model.Wanted{Target: target(ip, tag, 0), Started: started}
}

func all(alive bool) func(model.Key) bool { return func(model.Key) bool { return alive } }

// onlyAlive are the IPs that are Alive, wherever they are bound.
func onlyAlive(ips ...string) func(model.Key) bool {
	return func(k model.Key) bool {
		for _, ip := range ips {
			if k.IP == ip {
				return true
			}
		}
		return false
	}
}

func TestTargetsPlan(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   Targets
		want   TargetPlan
	}{
		"BindServing": {
			reason: "wanted and not there is bound with its weight",
			args:   Targets{Wanted: []model.Wanted{serving("10.0.0.1", uidA)}},
			want:   TargetPlan{Steps: []Step{{Bind, []model.Target{target("10.0.0.1", uidA, 10)}}}},
		},
		"BindEarly": {
			reason: "a pod that warms up is bound at weight 0",
			args:   Targets{Wanted: []model.Wanted{warming("10.0.0.1", uidA)}},
			want:   TargetPlan{Steps: []Step{{Bind, []model.Target{target("10.0.0.1", uidA, 0)}}}},
		},
		"NeverBindLeaving": {
			reason: "a pod that is going is never newly bound",
			args:   Targets{Wanted: []model.Wanted{leaving("10.0.0.1", uidA)}},
		},
		"ServingBeforeEarly": {
			reason: "with quota short those that serve must get in first, in order of their keys",
			args: Targets{Wanted: []model.Wanted{
				warming("10.0.0.1", uidA), serving("10.0.0.3", uidC), serving("10.0.0.2", uidB),
			}},
			want: TargetPlan{Steps: []Step{{Bind, []model.Target{
				target("10.0.0.2", uidB, 10), target("10.0.0.3", uidC, 10), target("10.0.0.1", uidA, 0),
			}}}},
		},
		"Same": {
			reason: "the pod's own target with its weight is left alone",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidA, 10)},
			},
		},
		"Raise": {
			reason: "a pod that became ready gets its weight",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidA, 0)},
			},
			want: TargetPlan{Steps: []Step{{Raise, []model.Target{target("10.0.0.1", uidA, 10)}}}},
		},
		"LessIsNotLower": {
			reason: "Lower is for drains alone: another weight above 0 is taken with the Raises",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidA, 50)},
			},
			want: TargetPlan{Steps: []Step{{Raise, []model.Target{target("10.0.0.1", uidA, 10)}}}},
		},
		"Lower": {
			reason: "a pod that is going keeps its target at weight 0",
			args: Targets{
				Wanted:   []model.Wanted{leaving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidA, 10)},
			},
			want: TargetPlan{Steps: []Step{{Lower, []model.Target{target("10.0.0.1", uidA, 0)}}}},
		},
		"Stranger": {
			reason: "another pod's target at our address goes before ours is bound",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidB, 10)},
				Alive:    all(false),
			},
			want: TargetPlan{Steps: []Step{
				{Evict, []model.Target{target("10.0.0.1", uidB, 10)}},
				{Bind, []model.Target{target("10.0.0.1", uidA, 10)}},
			}},
		},
		"StrangerOfLeaving": {
			reason: "a pod that is going has no use for the address, but the stranger goes all the same",
			args: Targets{
				Wanted:   []model.Wanted{leaving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidB, 10)},
				Alive:    all(false),
			},
			want: TargetPlan{Steps: []Step{{Evict, []model.Target{target("10.0.0.1", uidB, 10)}}}},
		},
		"StrangerUnlooked": {
			reason: "while nobody looked at health a stranger is a doubt and stays",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidB, 10)},
			},
			want: TargetPlan{Doubts: []model.Target{target("10.0.0.1", uidB, 10)}},
		},
		"AdoptUntagged": {
			reason: "registered more than 5 s after the pod's start: made for it",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{registered(target("10.0.0.1", "", 10), 6*time.Second)},
			},
			want: TargetPlan{Steps: []Step{{Adopt, []model.Target{target("10.0.0.1", uidA, 10)}}}},
		},
		"AdoptUnknownTagAndWeigh": {
			reason: "a tag that is no UID says as little as none; the weight follows",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{registered(target("10.0.0.1", "blue", 50), time.Minute)},
			},
			want: TargetPlan{Steps: []Step{
				{Adopt, []model.Target{target("10.0.0.1", uidA, 10)}},
				{Raise, []model.Target{target("10.0.0.1", uidA, 10)}},
			}},
		},
		"TooEarlyToAdopt": {
			reason: "5 s are within what the clocks differ: it may be of the address's last pod",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{registered(target("10.0.0.1", "", 10), 5*time.Second)},
				Alive:    all(false),
			},
			want: TargetPlan{Steps: []Step{
				{Evict, []model.Target{registered(target("10.0.0.1", "", 10), 5*time.Second)}},
				{Bind, []model.Target{target("10.0.0.1", uidA, 10)}},
			}},
		},
		"AgeUnknown": {
			reason: "without a time of registration nothing shows whom it was made for",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", "", 10)},
			},
			want: TargetPlan{Doubts: []model.Target{target("10.0.0.1", "", 10)}},
		},
		"StartUnknown": {
			reason: "nor does it without the pod's start",
			args: Targets{
				Wanted:   []model.Wanted{{Target: target("10.0.0.1", uidA, 10), Bind: true}},
				Observed: []model.Target{registered(target("10.0.0.1", "", 10), time.Hour)},
			},
			want: TargetPlan{Doubts: []model.Target{registered(target("10.0.0.1", "", 10), time.Hour)}},
		},
		"Gone": {
			reason: "what nobody wants loses its weight, then its binding",
			args:   Targets{Observed: []model.Target{target("10.0.0.1", uidA, 10)}},
			want: TargetPlan{Steps: []Step{
				{Lower, []model.Target{target("10.0.0.1", uidA, 0)}},
				{Unbind, []model.Target{target("10.0.0.1", uidA, 10)}},
			}},
		},
		"GoneDrained": {
			reason: "at weight 0 there is nothing to lower",
			args:   Targets{Observed: []model.Target{target("10.0.0.1", "", 0)}},
			want:   TargetPlan{Steps: []Step{{Unbind, []model.Target{target("10.0.0.1", "", 0)}}}},
		},
		"NotOurPlace": {
			reason: "neither binds nor unbinds anywhere but at its places",
			args: Targets{
				Wanted:   []model.Wanted{{Target: at(target("10.0.0.1", uidA, 10), there), Bind: true}},
				Observed: []model.Target{at(target("10.0.0.2", uidB, 10), there)},
			},
		},
		"LastAliveStaysForItsTag": {
			reason: "an outage for certain is worse than a doubt: adopted, not evicted",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidB, 10), target("10.0.0.2", uidC, 10)},
				Alive:    onlyAlive("10.0.0.1"),
				Only:     map[string]bool{uidA: true},
			},
			want: TargetPlan{Steps: []Step{{Adopt, []model.Target{target("10.0.0.1", uidA, 10)}}}},
		},
		"LastAliveServesNobody": {
			reason: "whoever had the address was drained: adopted, the target would serve the next pod on the last one's health",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidB, 0)},
				Alive:    onlyAlive("10.0.0.1"),
			},
			want: TargetPlan{Steps: []Step{
				{Evict, []model.Target{target("10.0.0.1", uidB, 0)}},
				{Bind, []model.Target{target("10.0.0.1", uidA, 10)}},
			}},
		},
		"NotLastAlive": {
			reason: "another pod serves: the stranger goes",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA), serving("10.0.0.2", uidC)},
				Observed: []model.Target{target("10.0.0.1", uidB, 10), target("10.0.0.2", uidC, 10)},
				Alive:    all(true),
			},
			want: TargetPlan{Steps: []Step{
				{Evict, []model.Target{target("10.0.0.1", uidB, 10)}},
				{Bind, []model.Target{target("10.0.0.1", uidA, 10)}},
			}},
		},
		"OneOfTwoStrangersStays": {
			reason: "of strangers alone the last in order stays",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA), serving("10.0.0.2", uidB)},
				Observed: []model.Target{target("10.0.0.1", uidC, 10), target("10.0.0.2", uidC, 10)},
				Alive:    all(true),
			},
			want: TargetPlan{Steps: []Step{
				{Evict, []model.Target{target("10.0.0.1", uidC, 10)}},
				{Adopt, []model.Target{target("10.0.0.2", uidB, 10)}},
				{Bind, []model.Target{target("10.0.0.1", uidA, 10)}},
			}},
		},
		"AliveAtWeightZeroDoesNotServe": {
			reason: "the other Alive one gets no traffic, so the stranger is the last",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA), warming("10.0.0.2", uidC)},
				Observed: []model.Target{target("10.0.0.1", uidB, 10), target("10.0.0.2", uidC, 0)},
				Alive:    all(true),
			},
			want: TargetPlan{Steps: []Step{{Adopt, []model.Target{target("10.0.0.1", uidA, 10)}}}},
		},
		"GoneDoesNotServe": {
			reason: "the other Alive one is unbound by the same plan, so the stranger is the last",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA)},
				Observed: []model.Target{target("10.0.0.1", uidB, 10), target("10.0.0.2", uidC, 10)},
				Alive:    all(true),
			},
			want: TargetPlan{Steps: []Step{
				{Lower, []model.Target{target("10.0.0.2", uidC, 0)}},
				{Adopt, []model.Target{target("10.0.0.1", uidA, 10)}},
				{Unbind, []model.Target{target("10.0.0.2", uidC, 10)}},
			}},
		},
		"DrainedDoesNotServe": {
			reason: "the other Alive one is drained by the same plan, so the stranger is the last",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA), leaving("10.0.0.2", uidC)},
				Observed: []model.Target{target("10.0.0.1", uidB, 10), target("10.0.0.2", uidC, 10)},
				Alive:    all(true),
			},
			want: TargetPlan{Steps: []Step{
				{Lower, []model.Target{target("10.0.0.2", uidC, 0)}},
				{Adopt, []model.Target{target("10.0.0.1", uidA, 10)}},
			}},
		},
		"AliveElsewhereDoesNotServeHere": {
			reason: "each place is counted by itself",
			args: Targets{
				Places:   []model.Place{here, there},
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA), {Target: at(target("10.0.0.2", uidC, 10), there), Bind: true}},
				Observed: []model.Target{target("10.0.0.1", uidB, 10), at(target("10.0.0.2", uidC, 10), there)},
				Alive:    all(true),
			},
			want: TargetPlan{Steps: []Step{{Adopt, []model.Target{target("10.0.0.1", uidA, 10)}}}},
		},
		"OnlyNamed": {
			reason: "limited to a pod, others' targets stay as they are",
			args: Targets{
				Wanted:   []model.Wanted{serving("10.0.0.1", uidA), serving("10.0.0.2", uidB)},
				Observed: []model.Target{target("10.0.0.2", uidB, 0), target("10.0.0.3", uidC, 10)},
				Only:     map[string]bool{uidA: true},
			},
			want: TargetPlan{Steps: []Step{{Bind, []model.Target{target("10.0.0.1", uidA, 10)}}}},
		},
		"OnlyGone": {
			reason: "a named pod that is gone is found by its tag",
			args: Targets{
				Observed: []model.Target{target("10.0.0.2", uidB, 10), target("10.0.0.3", uidC, 0)},
				Only:     map[string]bool{uidC: true},
			},
			want: TargetPlan{Steps: []Step{{Unbind, []model.Target{target("10.0.0.3", uidC, 0)}}}},
		},
		"AllKindsInOrder": {
			reason: "traffic stops first, what is built comes after what must go for it, the rest is last",
			args: Targets{
				Wanted: []model.Wanted{
					serving("10.0.0.1", uidA), serving("10.0.0.2", uidB), serving("10.0.0.3", uidC), leaving("10.0.0.4", uidA),
				},
				Observed: []model.Target{
					target("10.0.0.1", uidC, 0), registered(target("10.0.0.2", "", 10), time.Minute), target("10.0.0.3", uidC, 0),
					target("10.0.0.4", uidA, 10), target("10.0.0.5", uidB, 0),
				},
				Alive: all(false),
			},
			want: TargetPlan{Steps: []Step{
				{Lower, []model.Target{target("10.0.0.4", uidA, 0)}},
				{Evict, []model.Target{target("10.0.0.1", uidC, 0)}},
				{Adopt, []model.Target{target("10.0.0.2", uidB, 10)}},
				{Bind, []model.Target{target("10.0.0.1", uidA, 10)}},
				{Raise, []model.Target{target("10.0.0.3", uidC, 10)}},
				{Unbind, []model.Target{target("10.0.0.5", uidB, 0)}},
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.args.Places == nil {
				tc.args.Places = []model.Place{here}
			}
			if diff := cmp.Diff(tc.want, tc.args.Plan()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTargetPlanEmpty(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   TargetPlan
		want   bool
	}{
		"Nothing": {reason: "no steps, no doubts", want: true},
		"Steps":   {reason: "steps are work", args: TargetPlan{Steps: []Step{{Kind: Bind}}}},
		"Doubts":  {reason: "doubts are work too", args: TargetPlan{Doubts: []model.Target{target("10.0.0.1", "", 0)}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.args.Empty(); got != tc.want {
				t.Errorf("%s: want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

func TestIsUID(t *testing.T) {
	cases := map[string]struct {
		reason, tag string
		want        bool
	}{
		"UID":       {reason: "as the API server makes them", tag: uidA, want: true},
		"Empty":     {reason: "no tag", tag: ""},
		"UpperCase": {reason: "the API server writes lower case", tag: "AAAAAAAA-0000-4000-8000-000000000001"},
		"NoDashes":  {reason: "36 digits are no UID", tag: "aaaaaaaa00004000800000000000000100000"[:36]},
		"Short":     {reason: "one missing", tag: uidA[:35]},
		"Long":      {reason: "one more", tag: uidA + "0"},
		"NotHex":    {reason: "g is no digit", tag: "gaaaaaaa-0000-4000-8000-000000000001"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsUID(tc.tag); got != tc.want {
				t.Errorf("%s: IsUID(%q) want %t, got %t", tc.reason, tc.tag, tc.want, got)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	type result struct {
		Both               []pair[string, string]
		OnlyWant, OnlyHave []string
	}
	first := func(s string) string { return s[:1] }
	cases := map[string]struct {
		reason     string
		want, have []string
		out        result
	}{
		"Nothing":    {reason: "two empty sets"},
		"ThreeWays":  {reason: "each side keeps its order", want: []string{"c1", "a1"}, have: []string{"b2", "a2"}, out: result{[]pair[string, string]{{"a1", "a2"}}, []string{"c1"}, []string{"b2"}}},
		"TwiceThere": {reason: "the first of a key counts, the second is left over", want: []string{"a1"}, have: []string{"a2", "a3"}, out: result{[]pair[string, string]{{"a1", "a2"}}, nil, []string{"a3"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got result
			got.Both, got.OnlyWant, got.OnlyHave = match(tc.want, tc.have, first, first)
			if diff := cmp.Diff(tc.out, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBatches(t *testing.T) {
	cases := map[string]struct {
		reason string
		n      int
		size   int
		want   []int
	}{
		"None":  {reason: "nothing to do is no batch", size: 3},
		"Exact": {reason: "no empty batch at the end", n: 6, size: 3, want: []int{3, 3}},
		"Rest":  {reason: "the last is smaller", n: 7, size: 3, want: []int{3, 3, 1}},
		"Zero":  {reason: "a size below 1 is 1, not an endless loop", n: 2, size: 0, want: []int{1, 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []int
			next := 0
			items := make([]int, tc.n)
			for i := range items {
				items[i] = i
			}
			for _, b := range Batches(items, tc.size) {
				got = append(got, len(b))
				for _, v := range b {
					if v != next {
						t.Errorf("%s: want item %d next, got %d", tc.reason, next, v)
					}
					next++
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: sizes -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// Where a CLB takes a backend only once, what is asked for first gets it: the first
// port of the oldest Service, not the listener whose id sorts first.
func TestBindKeepsTheOrderOfPlaces(t *testing.T) {
	first, second := model.Place{Listener: "lbl-z"}, model.Place{Listener: "lbl-a"}
	want := func(p model.Place, ip string, weight int) model.Wanted {
		return model.Wanted{Target: model.Target{Place: p, Address: model.Address{IP: ip, Port: 80}, Weight: weight}, Bind: true}
	}
	got := Targets{
		Places: []model.Place{first, second},
		Wanted: []model.Wanted{want(second, "10.0.0.1", 10), want(first, "10.0.0.2", 0), want(second, "10.0.0.2", 0), want(first, "10.0.0.1", 10)},
	}.Plan()
	var order []string
	for _, s := range got.Steps {
		for _, target := range s.Targets {
			order = append(order, string(s.Kind)+" "+target.Key().String())
		}
	}
	if diff := cmp.Diff([]string{
		"Bind lbl-z 10.0.0.1:80", "Bind lbl-a 10.0.0.1:80", "Bind lbl-z 10.0.0.2:80", "Bind lbl-a 10.0.0.2:80",
	}, order); diff != "" {
		t.Errorf("serving pods first, then by place: -want +got:\n%s", diff)
	}
}
