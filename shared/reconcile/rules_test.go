package reconcile

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

const webName = "web"

// ruled is a ruleApplier at an emulated CLB with a layer-7 listener.
type ruled struct {
	*bench
	*ruleApplier
	web string
}

func newRuled(t *testing.T, set ...func(*emulator.Options)) *ruled {
	t.Helper()
	b := newBench(t, set...)
	ids, err := b.applier.session.CreateListeners(t.Context(), b.applier.lb, []model.WantedListener{{Name: webName, Protocol: model.HTTP, Port: 8080}})
	if err != nil {
		t.Fatal(err)
	}
	found, err := b.applier.session.LoadBalancers(t.Context(), b.applier.lb)
	if err != nil {
		t.Fatal(err)
	}
	a := &ruleApplier{pass: b.applier.pass, session: b.applier.session, lb: &found[0], places: map[model.Spot]model.Place{}, broken: map[model.Spot]error{}}
	return &ruled{b, a, ids[0]}
}

func rulesOf(n int) []model.WantedRule {
	var out []model.WantedRule
	for i := range n {
		spot := model.Spot{Listener: webName, Domain: "a.example.com", Path: fmt.Sprintf("/%d", i)}
		out = append(out, model.WantedRule{Spot: spot, Owner: &model.Front{UID: "u"}, Key: spot.Path})
	}
	return out
}

// listeners are those of layer 7 as they stand.
func (r *ruled) listeners() []model.Listener {
	r.t.Helper()
	all, err := r.ruleApplier.session.Listeners(r.t.Context(), r.ruleApplier.lb.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(l model.Listener) bool { return !l.Protocol.Layer7() })
}

func (r *ruled) stands() []string {
	var out []string
	for _, l := range r.listeners() {
		for _, rule := range l.Rules {
			out = append(out, rule.Path)
		}
	}
	slices.Sort(out)
	return out
}

func paths(rules []model.WantedRule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.Path)
	}
	slices.Sort(out)
	return out
}

// TestOneBadRule: it is found, and holds up nobody.
func TestOneBadRule(t *testing.T) {
	t.Parallel()
	r := newRuled(t)
	rules := rulesOf(40)
	bogus := "FASTEST"
	rules[17].Settings.Scheduler = &bogus
	r.ruleApplier.run(t.Context(), plan.RulePlan{Create: map[string][]model.WantedRule{r.web: rules}})
	good := slices.Delete(slices.Clone(rules), 17, 18)
	if diff := cmp.Diff(paths(good), r.stands()); diff != "" {
		t.Errorf("all others are made: -want +got:\n%s", diff)
	}
	if len(r.broken) != 1 || r.broken[rules[17].Spot] == nil {
		t.Errorf("want the one broken, got %v", r.broken)
	}
	if n := r.ruleApplier.session.Calls()["CreateRule"]; n > 16 {
		t.Errorf("it is found by halving, got %d calls", n)
	}
	if len(r.places) != len(good) {
		t.Errorf("the places of what was made are known: got %d, want %d", len(r.places), len(good))
	}
}

// TestRuleQuota: what there is room for is made, the first wanted first, and the rest
// isn't asked for one by one.
func TestRuleQuota(t *testing.T) {
	t.Parallel()
	r := newRuled(t, func(o *emulator.Options) {
		q := emulator.DefaultQuotas()
		q.Rules = 7
		o.Quotas = &q
	})
	rules := rulesOf(50)
	r.ruleApplier.run(t.Context(), plan.RulePlan{Create: map[string][]model.WantedRule{r.web: rules}})
	if diff := cmp.Diff(paths(rules[:7]), r.stands()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := r.ruleApplier.session.Calls()["CreateRule"]; n > 30 {
		t.Errorf("got %d calls", n)
	}
	if !r.stopped || r.reply.Failure == nil {
		t.Errorf("somebody must come again: stopped %t, %+v", r.stopped, r.reply)
	}
}

// TestRedirectsComeAndGo: made with the rules they lead between, followed when these
// change, and cut before they go.
func TestRedirectsComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRuled(t)
	rules := rulesOf(3)
	rules[0].Redirect = &model.WantedRedirect{To: rules[1].Spot, Code: 301}
	step := func(wanted []model.WantedRule) (sends map[string]string) {
		t.Helper()
		in := plan.Rules{Wanted: wanted, Listeners: r.listeners(), Owner: func(model.Spot) string { return "u" }}
		a := &ruleApplier{pass: r.ruleApplier.pass, session: r.ruleApplier.session, lb: r.ruleApplier.lb, places: model.Spots(in.Listeners), broken: map[model.Spot]error{}}
		a.run(t.Context(), in.Plan())
		if a.stopped {
			t.Fatalf("stopped: %+v %v", a.reply.Failure, a.broken)
		}
		in.Listeners = r.listeners()
		if again := in.Plan(); !again.Empty() {
			t.Errorf("planning again is not empty: %+v", again)
		}
		sends = map[string]string{}
		byID := map[string]string{}
		for _, l := range in.Listeners {
			for _, rule := range l.Rules {
				byID[rule.ID] = rule.Path
			}
			for _, rule := range l.Rules {
				if rule.Redirect != nil {
					sends[rule.Path] = byID[rule.Redirect.To.Location]
				}
			}
		}
		return sends
	}
	if diff := cmp.Diff(map[string]string{"/0": "/1"}, step(rules)); diff != "" {
		t.Errorf("made: -want +got:\n%s", diff)
	}
	rules[0].Redirect = &model.WantedRedirect{To: rules[2].Spot, Code: 301}
	if diff := cmp.Diff(map[string]string{"/0": "/2"}, step(rules)); diff != "" {
		t.Errorf("led elsewhere: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{}, step(rules[1:])); diff != "" {
		t.Errorf("gone: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/1", "/2"}, r.stands()); diff != "" {
		t.Errorf("rules left: -want +got:\n%s", diff)
	}
}
