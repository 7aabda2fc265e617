package plan

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/model"
)

// web is the listener that the rules of these tests are at.
const web = "own_web"

func wantRule(uid string, minutes int, domain, path string) model.WantedRule {
	return model.WantedRule{Spot: model.Spot{Listener: web, Domain: domain, Path: path}, Owner: owner(uid, minutes), Key: domain + path}
}

func haveRule(domain, path string) model.Rule {
	return model.Rule{ID: "loc-" + domain + path, Domain: domain, Path: path, Attributes: model.Attributes{HealthCheck: model.DefaultHealthCheck, Scheduler: "WRR", ForwardType: "HTTP"}}
}

func locAt(domain, path string) model.Place {
	return model.Place{Listener: "lbl-web", Location: "loc-" + domain + path}
}

func listenerWith(rules ...model.Rule) []model.Listener {
	return []model.Listener{{ID: "lbl-web", Name: web, Protocol: model.HTTPS, Rules: rules}}
}

// ownedBy says who has what; what isn't named is somebody else's.
func ownedBy(uids map[string]string) func(model.Spot) string {
	return func(s model.Spot) string { return uids[s.Domain+s.Path] }
}

func TestRulesPlan(t *testing.T) {
	// The older Ingress has the higher UID: age goes first.
	one, two := wantRule("u2", 0, "a.example.com", "/"), wantRule("u1", 1, "a.example.com", "/")
	hash, on, off := "IP_HASH", true, false
	tuned := one
	tuned.Settings.Scheduler = &hash
	hashed := haveRule("a.example.com", "/").Attributes
	hashed.Scheduler = hash
	cert := model.Certificate{ID: "cert-1"}
	secure := one
	secure.Certificate, secure.HTTP2 = &cert, &on
	plain := two
	plain.Path, plain.Key, plain.HTTP2 = "/x", "a.example.com/x", &off
	first := wantRule("u2", 0, "b.example.com", "/")
	first.DefaultServer = true
	sends := wantRule("u2", 0, "a.example.com", "/old")
	sends.Redirect = &model.WantedRedirect{To: one.Spot, Code: 301}
	sent := haveRule("a.example.com", "/old")
	sent.Redirect = &model.Redirect{To: locAt("a.example.com", "/"), Code: 301}
	astray := sent
	astray.Redirect = &model.Redirect{To: locAt("b.example.com", "/"), Code: 301}
	standard := haveRule("a.example.com", "/")
	standard.DefaultServer = true
	b := "b.example.com"
	mine := map[string]string{"a.example.com/": "u2", "a.example.com/old": "u2", "b.example.com/": "u2"}
	cases := map[string]struct {
		reason string
		args   Rules
		want   RulePlan
	}{
		"Create": {
			reason: "wanted and not there is made",
			args:   Rules{Wanted: []model.WantedRule{one}, Listeners: listenerWith()},
			want:   RulePlan{Create: map[string][]model.WantedRule{"lbl-web": {one}}, Granted: []model.WantedRule{one}},
		},
		"NoListener": {
			reason: "its listener isn't there: another pass's, or never",
			args:   Rules{Wanted: []model.WantedRule{one}},
		},
		"Same": {
			reason: "there already, and nothing said about settings",
			args:   Rules{Wanted: []model.WantedRule{one}, Listeners: listenerWith(haveRule("a.example.com", "/"))},
			want:   RulePlan{Granted: []model.WantedRule{one}},
		},
		"Modify": {
			reason: "a setting that differs is changed, the others are left as they are",
			args:   Rules{Wanted: []model.WantedRule{tuned}, Listeners: listenerWith(haveRule("a.example.com", "/"))},
			want:   RulePlan{Modify: []RuleChange{{locAt("a.example.com", "/"), haveRule("a.example.com", "/").Attributes, hashed}}, Granted: []model.WantedRule{tuned}},
		},
		"Remove": {
			reason: "ours, and nobody wants it any more",
			args:   Rules{Listeners: listenerWith(haveRule("a.example.com", "/"))},
			want:   RulePlan{Remove: []Removal{{Listener: "lbl-web", Locations: []string{"loc-a.example.com/"}}}},
		},
		"RemoveTheDefault": {
			reason: "the default domain goes, so another must become it in the same call",
			args:   Rules{Wanted: []model.WantedRule{wantRule("u2", 0, b, "/")}, Listeners: listenerWith(standard, haveRule(b, "/"))},
			want: RulePlan{Remove: []Removal{{Listener: "lbl-web", Locations: []string{"loc-a.example.com/"}, NewDefault: &b}},
				Granted: []model.WantedRule{wantRule("u2", 0, b, "/")}},
		},
		"ForeignKeepsItsRule": {
			reason: "a rule that nobody here has on record is somebody else's",
			args:   Rules{Wanted: []model.WantedRule{wantRule("u1", 0, "c.example.com", "/")}, Listeners: listenerWith(haveRule("c.example.com", "/"))},
			want:   RulePlan{Conflicts: []RuleConflict{{Wanted: wantRule("u1", 0, "c.example.com", "/")}}},
		},
		"ForeignStays": {
			reason: "and nobody's here to remove",
			args:   Rules{Listeners: listenerWith(haveRule("c.example.com", "/"))},
		},
		"OldestHasTheRule": {
			reason: "of two Ingresses the one created first has it, though the other made it",
			args:   Rules{Wanted: []model.WantedRule{two, one}, Listeners: listenerWith(haveRule("a.example.com", "/"))},
			want:   RulePlan{Conflicts: []RuleConflict{{Wanted: two, By: "u2"}}, Granted: []model.WantedRule{one}},
		},
		"DomainOnce": {
			reason: "certificate and protocol are the domain's: the older Ingress's words count for both rules",
			args:   Rules{Wanted: []model.WantedRule{plain, secure}, Listeners: listenerWith(haveRule("a.example.com", "/"))},
			want: RulePlan{Create: map[string][]model.WantedRule{"lbl-web": {plain}}, Granted: []model.WantedRule{secure, plain},
				Domains: []DomainChange{{Listener: "lbl-web", Domain: "a.example.com", Want: model.DomainAttributes{Certificate: cert, HTTP2: true}}}},
		},
		"NewDomainHasItFromTheStart": {
			reason: "a rule is made with its domain's certificate, there is nothing to change",
			args:   Rules{Wanted: []model.WantedRule{secure}, Listeners: listenerWith()},
			want:   RulePlan{Create: map[string][]model.WantedRule{"lbl-web": {secure}}, Granted: []model.WantedRule{secure}},
		},
		"Default": {
			reason: "a domain becomes the default when its rules are there",
			args:   Rules{Wanted: []model.WantedRule{first}, Listeners: listenerWith()},
			want: RulePlan{Create: map[string][]model.WantedRule{"lbl-web": {first}}, Granted: []model.WantedRule{first},
				Domains: []DomainChange{{Listener: "lbl-web", Domain: b, Want: model.DomainAttributes{DefaultServer: true}}}},
		},
		"Redirect": {
			reason: "both ends are made first",
			args:   Rules{Wanted: []model.WantedRule{one, sends}, Listeners: listenerWith()},
			want: RulePlan{Create: map[string][]model.WantedRule{"lbl-web": {one, sends}}, Granted: []model.WantedRule{one, sends},
				Redirect: []RedirectChange{{sends.Spot, *sends.Redirect}}},
		},
		"RedirectsAlready": {
			reason: "the same target by place",
			args:   Rules{Wanted: []model.WantedRule{one, sends}, Listeners: listenerWith(haveRule("a.example.com", "/"), sent)},
			want:   RulePlan{Granted: []model.WantedRule{one, sends}},
		},
		"RedirectsElsewhere": {
			reason: "an end of ours must be cut before it can lead elsewhere",
			args:   Rules{Wanted: []model.WantedRule{one, sends}, Listeners: listenerWith(haveRule("a.example.com", "/"), astray, haveRule("x.example.com", "/"))},
			want: RulePlan{Granted: []model.WantedRule{one, sends}, Straighten: []model.Redirection{{From: locAt("a.example.com", "/old"), To: locAt(b, "/"), Code: 301}},
				Redirect: []RedirectChange{{sends.Spot, *sends.Redirect}}},
		},
		"RemovedRedirect": {
			reason: "a redirect ends before its rule goes",
			args:   Rules{Wanted: []model.WantedRule{one}, Listeners: listenerWith(haveRule("a.example.com", "/"), sent)},
			want: RulePlan{Granted: []model.WantedRule{one}, Straighten: []model.Redirection{{From: locAt("a.example.com", "/old"), To: locAt("a.example.com", "/"), Code: 301}},
				Remove: []Removal{{Listener: "lbl-web", Locations: []string{"loc-a.example.com/old"}}}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.args.Owner = ownedBy(mine)
			if diff := gocmp.Diff(tc.want, tc.args.Plan(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// location is a rule that stands, and whose record has it.
type location struct {
	model.Rule
	owner string
}

// locations are the rules of the listener by spot.
type locations map[model.Spot]location

func (ls locations) observed() []model.Listener {
	spots := slices.SortedFunc(maps.Keys(ls), model.Spot.Compare)
	l := model.Listener{ID: "lbl-web", Name: web, Protocol: model.HTTPS}
	for _, s := range spots {
		l.Rules = append(l.Rules, ls[s].Rule)
	}
	return []model.Listener{l}
}

func (ls locations) owner(s model.Spot) string { return ls[s].owner }

func (ls locations) find(p model.Place) (model.Spot, error) {
	for s, l := range ls {
		if l.ID == p.Location {
			return s, nil
		}
	}
	return model.Spot{}, fmt.Errorf("there is no rule %s", p)
}

// domain changes all rules of a domain.
func (ls locations) domain(domain string, change func(*model.DomainAttributes)) {
	for s, l := range ls {
		if s.Domain == domain {
			change(&l.DomainAttributes)
			ls[s] = l
		}
	}
}

// apply does what the CLB would, and refuses what it would refuse.
func (ls locations) apply(p RulePlan) error {
	for _, r := range p.Straighten {
		s, err := ls.find(r.From)
		if err != nil {
			return err
		}
		l := ls[s]
		if l.Redirect == nil {
			return fmt.Errorf("%s doesn't redirect", s)
		}
		l.Redirect = nil
		ls[s] = l
	}
	for _, rules := range p.Create {
		for _, w := range rules {
			if _, taken := ls[w.Spot]; taken {
				return fmt.Errorf("%s is there already", w.Spot)
			}
			rule := haveRule(w.Domain, w.Path)
			rule.Attributes, _ = w.Settings.Apply(rule.Attributes)
			rule.DomainAttributes = created(w)
			for s, l := range ls {
				if s.Domain == w.Domain {
					rule.DomainAttributes = l.DomainAttributes
				}
			}
			ls[w.Spot] = location{rule, w.Owner.UID}
		}
	}
	for _, c := range p.Modify {
		s, err := ls.find(c.Place)
		if err != nil {
			return err
		}
		l := ls[s]
		l.Attributes = c.Want
		ls[s] = l
	}
	for _, c := range p.Domains {
		if c.Want.DefaultServer {
			for s := range ls {
				ls.domain(s.Domain, func(a *model.DomainAttributes) { a.DefaultServer = false })
			}
		}
		ls.domain(c.Domain, func(a *model.DomainAttributes) { *a = c.Want })
	}
	for _, r := range p.Redirect {
		from, to := ls[r.From], ls[r.To]
		if from.ID == "" || to.ID == "" || from.Redirect != nil || to.Redirect != nil {
			return fmt.Errorf("can't redirect %s to %s", r.From, r.To)
		}
		from.Redirect = &model.Redirect{To: model.Place{Listener: "lbl-web", Location: to.ID}, Code: r.Code}
		ls[r.From] = from
	}
	for _, r := range p.Remove { // each is one call: all of it, or nothing
		fallback, had := "", false
		for _, id := range r.Locations {
			s, err := ls.find(model.Place{Location: id})
			if err != nil {
				return err
			}
			for _, l := range ls {
				if l.Redirect != nil && l.Redirect.To.Location == id {
					return fmt.Errorf("%s is still redirected to", s)
				}
			}
			if ls[s].DefaultServer {
				fallback, had = s.Domain, true
			}
			delete(ls, s)
		}
		left := slices.ContainsFunc(slices.Collect(maps.Keys(ls)), func(o model.Spot) bool { return o.Domain == fallback })
		if had && !left && len(ls) > 0 {
			if r.NewDefault == nil {
				return fmt.Errorf("the default domain %s goes without a successor", fallback)
			}
			ls.domain(*r.NewDefault, func(a *model.DomainAttributes) { a.DefaultServer = true })
		}
	}
	return nil
}

// ruleLaws checks the laws of a plan for rules: u1 and u2 are the Ingresses it speaks
// for.
func ruleLaws(t *rapid.T) {
	stand := locations{}
	in := Rules{Owner: stand.owner}
	standardSeen := false
	for _, domain := range []string{"", "a", "b"} {
		attributes := model.DomainAttributes{HTTP2: rapid.Bool().Draw(t, "http2")}
		if !standardSeen && rapid.Bool().Draw(t, "default") {
			attributes.DefaultServer, standardSeen = true, true
		}
		for _, path := range []string{"/", "/x"} {
			spot := model.Spot{Listener: web, Domain: domain, Path: path}
			for i, uid := range []string{"u1", "u2"} {
				if !rapid.Bool().Draw(t, "wanted") {
					continue
				}
				w := wantRule(uid, rapid.IntRange(0, 1).Draw(t, "age")*(i+1), domain, path)
				if rapid.Bool().Draw(t, "tuned") {
					hash := rapid.SampledFrom([]string{"WRR", "IP_HASH"}).Draw(t, "scheduler")
					w.Settings.Scheduler = &hash
				}
				if rapid.Bool().Draw(t, "says http2") {
					on := rapid.Bool().Draw(t, "wanted http2")
					w.HTTP2 = &on
				}
				w.DefaultServer = rapid.IntRange(0, 4).Draw(t, "wants default") == 0
				in.Wanted = append(in.Wanted, w)
			}
			if uid := rapid.SampledFrom([]string{"none", "u1", "u2", ""}).Draw(t, "stands"); uid != "none" {
				rule := haveRule(domain, path)
				rule.DomainAttributes = attributes
				stand[spot] = location{rule, uid}
			}
		}
	}
	before := maps.Clone(stand)
	in.Listeners = stand.observed()
	p := in.Plan()
	shuffled := in
	shuffled.Wanted = rapid.Permutation(in.Wanted).Draw(t, "order")
	if diff := gocmp.Diff(p, shuffled.Plan(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("the plan depends on the order of its input: -want +got:\n%s", diff)
	}
	if err := stand.apply(p); err != nil {
		t.Fatalf("the CLB refuses the plan: %v", err)
	}
	granted := map[model.Spot]bool{}
	for _, w := range p.Granted {
		granted[w.Spot] = true
		got, there := stand[w.Spot]
		if _, changed := w.Settings.Apply(got.Attributes); !there || changed {
			t.Fatalf("want %s with its settings, got %+v", w.Spot, got)
		}
	}
	for _, c := range p.Conflicts {
		if _, there := stand[c.Wanted.Spot]; !there || c.By == c.Wanted.Owner.UID {
			t.Fatalf("a conflict with nobody: %+v", c)
		}
	}
	if len(p.Granted)+len(p.Conflicts) != len(in.Wanted) {
		t.Fatalf("%d wanted, %d granted and %d in conflict", len(in.Wanted), len(p.Granted), len(p.Conflicts))
	}
	for s, l := range stand {
		if l.owner != "" && !granted[s] {
			t.Fatalf("%s is still there, and nobody wants it", s)
		}
	}
	for s, l := range before {
		if now, still := stand[s]; l.owner == "" && (!still || !gocmp.Equal(now.Attributes, l.Attributes)) {
			t.Fatalf("%s is not ours, but was touched", s)
		}
	}
	for s, l := range stand { // the record follows the grants
		for _, w := range p.Granted {
			if w.Spot == s {
				l.owner = w.Owner.UID
				stand[s] = l
			}
		}
	}
	again := Rules{Owner: stand.owner, Wanted: in.Wanted, Listeners: stand.observed()}.Plan()
	if !again.Empty() {
		t.Fatalf("planning again is not empty: %+v", again)
	}
}

func TestRuleLaws(t *testing.T) { rapid.Check(t, ruleLaws) }

func FuzzRuleLaws(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef"))
	f.Fuzz(rapid.MakeFuzz(ruleLaws))
}
