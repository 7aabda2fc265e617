package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// TestThrough: what a pass leaves is taken up at once, as nobody else would before the
// next timer, for as long as it does something and there is time.
func TestThrough(t *testing.T) {
	t.Parallel()
	some := map[string]int{"Bind": 500}
	part, whole := event.Reply{Continue: true, Writes: some}, event.Reply{Writes: some}
	cases := map[string]struct {
		reason  string
		replies []event.Reply
		left    time.Duration
		runs    int
		want    event.Reply
	}{
		"Once":    {"it was through", []event.Reply{whole}, time.Minute, 1, event.Reply{Writes: map[string]int{"Bind": 500}}},
		"Again":   {"it handed over twice", []event.Reply{part, part, whole}, time.Minute, 3, event.Reply{Writes: map[string]int{"Bind": 1500}}},
		"Nothing": {"one that did nothing would do so again", []event.Reply{part, {Continue: true}}, time.Minute, 2, event.Reply{Continue: true, Writes: map[string]int{"Bind": 500}}},
		"Late":    {"the time is nearly over: whoever comes next goes on", []event.Reply{part}, reserve - time.Second, 1, event.Reply{Continue: true, Writes: map[string]int{"Bind": 500}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
			defer cancel()
			deadline, _ := ctx.Deadline()
			w := &World{Now: func() time.Time { return deadline.Add(-tc.left) }, Log: slog.New(slog.DiscardHandler)}
			p := w.begin(event.Request{})
			runs := 0
			p.through(ctx, func() event.Reply {
				runs++
				return tc.replies[runs-1]
			})
			if runs != tc.runs {
				t.Errorf("%s: want %d passes, got %d", tc.reason, tc.runs, runs)
			}
			if diff := cmp.Diff(tc.want, p.reply); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTurns: every CLB comes first some time, and each comes once.
func TestTurns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := &survey{pass: (&World{Now: func() time.Time { return now }}).begin(event.Request{})}
	if got := s.turns(); got != nil {
		t.Errorf("want no turns without CLBs, got %v", got)
	}
	s.balancers = map[string]model.LoadBalancer{"a": {ID: "a"}, "b": {ID: "b"}, "c": {ID: "c"}}
	first := map[string]bool{}
	for range 3 {
		ids := s.turns()
		first[ids[0]] = true
		seen := map[string]bool{}
		for _, id := range ids {
			seen[id] = true
		}
		if len(ids) != 3 || len(seen) != 3 {
			t.Errorf("want each once, got %v", ids)
		}
		now = now.Add(20 * time.Second)
	}
	if len(first) != 3 {
		t.Errorf("want each first once in three surveys, got %v", first)
	}
}

// TestForget: what isn't looked at isn't forgotten.
func TestForget(t *testing.T) {
	t.Parallel()
	const then = "2026-11-23T12:00:00Z"
	set := func(keys ...string) map[string]bool {
		out := map[string]bool{}
		for _, k := range keys {
			out[k] = true
		}
		return out
	}
	before := map[string]string{knownKey: "lb-old lb-own", "lb-stray": then, "lb-other.lbl-1": then}
	cases := map[string]struct {
		reason     string
		seen, used map[string]bool
		whole      bool
		want       map[string]string
	}{
		"Clean": {"nothing is unwanted or used", set(), set(), true, map[string]string{}},
		"Same":  {"all is as it was", set("lb-stray", "lb-other.lbl-1"), set("lb-own"), true, map[string]string{knownKey: "lb-other lb-own", "lb-stray": then, "lb-other.lbl-1": then}},
		"Part":  {"the look was at others", set(), set("lb-own"), false, map[string]string{knownKey: "lb-old lb-other lb-own", "lb-stray": then, "lb-other.lbl-1": then}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := maps.Clone(before)
			forget(got, tc.seen, tc.used, tc.whole)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

// subjectAt is a Service of ours at a CLB that somebody else made.
func subjectAt(lb string, edit func(*model.Service)) *subject {
	svc := &model.Service{Type: "LoadBalancer", Front: model.Front{Kind: model.KindService, Namespace: "default", Name: "web", UID: "u-1",
		Finalizers:  []string{desired.KeysOf(model.KindService).Finalizer},
		Annotations: map[string]string{desired.DirectAccess: "true", desired.ExistingLB: lb, desired.LoadBalancerID: lb}}}
	edit(svc)
	return &subject{Object: desired.ServiceObject(svc)}
}

// TestLookKeepsToWhatItIsAbout: a survey of some CLBs doesn't take those that it hasn't
// read for missing.
func TestLookKeepsToWhatItIsAbout(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		about   []string
		there   bool
		compare bool
		todo    bool
	}{
		"Everything": {"it is there", nil, true, true, false},
		"Missing":    {"it is gone", nil, false, false, true},
		"About":      {"it is what was asked about", []string{"lb-1", "lb-2"}, true, true, false},
		"AboutGone":  {"and is gone", []string{"lb-1"}, false, false, true},
		"NotAbout":   {"another is", []string{"lb-2"}, false, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &World{Policy: desired.Policy{Cluster: "cls-test", Claim: desired.ByAnnotation}, Log: slog.New(slog.DiscardHandler)}
			s := &survey{pass: w.begin(event.Request{Sync: event.Sync{All: true, LoadBalancers: tc.about}}), balancers: map[string]model.LoadBalancer{}, frontend: map[string][]*subject{}}
			if tc.there {
				s.balancers["lb-1"] = model.LoadBalancer{ID: "lb-1", Ready: true}
			}
			if got := s.look(subjectAt("lb-1", func(*model.Service) {})); (got != nil) != tc.compare || (len(s.frontend) > 0) != tc.todo {
				t.Errorf("%s: compared %v, to do %v", tc.reason, got != nil, s.plan)
			}
		})
	}
}

// TestStrays: a CLB, or a listener, is nobody's when its owner isn't there, or wants
// nothing any more.
func TestStrays(t *testing.T) {
	t.Parallel()
	letGo := func(s *model.Service) { s.Finalizers, s.Annotations = nil, nil }
	cases := map[string]struct {
		reason string
		owners []*subject
		want   bool
	}{
		"Gone":       {"nobody has that UID", nil, true},
		"There":      {"it is ours", []*subject{subjectAt("lb-1", func(*model.Service) {})}, false},
		"LetGo":      {"there, but not ours, and without a finalizer", []*subject{subjectAt("lb-1", letGo)}, true},
		"Held":       {"it will be released", []*subject{subjectAt("lb-1", func(s *model.Service) { s.Annotations = nil })}, false},
		"Unreadable": {"whether it is ours can't be told", []*subject{subjectAt("lb-1", func(s *model.Service) { s.Finalizers, s.Annotations[desired.DirectAccess] = nil, "perhaps" })}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &World{Policy: desired.Policy{Cluster: "cls-test", Claim: desired.ByAnnotation}}
			s := &survey{pass: w.begin(event.Request{}), subjects: tc.owners}
			tagged := model.LoadBalancer{ID: "lb-own", Tags: map[string]string{desired.TagCluster: "cls-test", desired.TagOwner: "u-1"}}
			s.strays(tagged, nil, 0)
			s.strays(model.LoadBalancer{ID: "lb-1"}, []model.Listener{
				{ID: "lbl-1", Name: desired.ListenerName("cls-test", "u-1", model.TCP, 80)},
				{ID: "lbl-2", Name: "somebody-elses"},
				{ID: "lbl-3", Name: desired.ListenerName("cls-other", "u-1", model.TCP, 81)},
			}, 0)
			var got []string
			for _, u := range s.unwanted {
				got = append(got, u.key())
			}
			var want []string
			if tc.want {
				want = []string{"lb-own", "lb-1.lbl-1"}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}
