package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/model"
)

// good is a report as it is demanded.
func good() *report {
	r := &report{HealthyAgain: true, Idle: calls{Seconds: 65}}
	for _, kind := range kinds {
		for range minOfKind {
			r.Changes = append(r.Changes, &change{Kind: kind, Where: "web TCP:80", Seconds: 20, Healed: true, Seen: true})
		}
	}
	return r
}

func TestDemand(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*report)
		want   string // what the error names, "" for none
	}{
		"Met":       {"all is as demanded", func(*report) {}, ""},
		"NotHealed": {"one lasted", func(r *report) { r.Changes[3].Healed = false }, "was not healed"},
		"Late":      {"a minute is the limit", func(r *report) { r.Changes[3].Seconds = 60.1 }, "took 60 s"},
		"Unseen":    {"what was never there can't be healed", func(r *report) { r.Changes[3].Seen = false }, "was never there"},
		"Touched":   {"nothing of somebody else's", func(r *report) { r.ForeignTouched = 1 }, "touched"},
		"Few":       {"too few of a kind", func(r *report) { r.Changes[0].Kind = tagged }, deleted + " was made 2 times"},
		"TooFew":    {"too few at all", func(r *report) { r.Changes = r.Changes[:19] }, "only 19 changes"},
		"Short":     {"a minute without changes", func(r *report) { r.Idle.Seconds = 59 }, "59 s"},
		"Ill":       {"healed is more than looks the same", func(r *report) { r.HealthyAgain = false }, "healthy again"},
		"Left":      {"nothing is left to do", func(r *report) { r.Left = []string{"bind"} }, "bind"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := good()
			tc.change(r)
			r.conclude()
			var got []string
			for _, err := range r.wrong() {
				got = append(got, err.Error())
			}
			all := strings.Join(got, "; ")
			if tc.want == "" && all != "" || !strings.Contains(all, tc.want) {
				t.Errorf("%s: got %q, want it to contain %q", tc.reason, all, tc.want)
			}
			var table strings.Builder
			r.table(&table)
			if strings.Contains(table.String(), "NOT MET") != (tc.want != "") {
				t.Errorf("%s: the table says otherwise:\n%s", tc.reason, table.String())
			}
		})
	}
}

func TestRateCountsTheFunctionsAlone(t *testing.T) {
	from := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(seconds int, principal string) clb.Call {
		return clb.Call{Time: from.Add(time.Duration(seconds) * time.Second), Action: "DescribeTargets", Principal: principal}
	}
	log := []clb.Call{at(-1, "f"), at(10, "f"), at(20, person), at(80, "f"), at(121, "f")}
	want := calls{Total: 1, ByAction: map[string]float64{"DescribeTargets": 1}, Seconds: 120}
	if diff := cmp.Diff(want, rateOf(log, from, from.Add(2*time.Minute))); diff != "" {
		t.Errorf("two calls in two minutes: -want +got\n%s", diff)
	}
}

var names = []string{"existing TCP:80", "shop HTTP:80", "shop HTTP:80 api.example.com/v1", "shop HTTP:80 shop.example.com/", "web TCP:80", "web TCP:8080"}

// Whatever the seed, every kind is made often enough, where it can be, and the same seed
// makes the same.
func TestWishes(t *testing.T) {
	for seed := range uint64(50) {
		draw := func() []wish {
			return wishes(rand.New(rand.NewPCG(seed, 0)), names, []string{"web", "shop", existing})
		}
		all := draw()
		if diff := cmp.Diff(all, draw(), cmp.AllowUnexported(wish{})); diff != "" {
			t.Fatalf("seed %d draws differently: %s", seed, diff)
		}
		of := map[string]int{}
		added := map[string]bool{}
		for _, w := range all {
			of[w.kind]++
			if w.kind == foreign {
				added[w.where] = true
				continue
			}
			if !slices.Contains(names, w.where) || w.kind == rule && !isRule(w.where) || w.kind == listener && isRule(w.where) || w.kind != listener && w.where == "shop HTTP:80" {
				t.Errorf("seed %d: %s can't be made at %s", seed, w.kind, w.where)
			}
		}
		for _, kind := range kinds {
			if of[kind] < minOfKind {
				t.Errorf("seed %d: %s is made %d times", seed, kind, of[kind])
			}
		}
		if len(all) < minChanges || !added[existing] || len(added) < 2 {
			t.Errorf("seed %d: %d changes, foreign listeners at %v", seed, len(all), added)
		}
	}
}

func TestReach(t *testing.T) {
	cases := map[string]struct {
		reason string
		wish   wish
		want   []string
	}{
		"Targets":  {"only there", wish{deleted, "web TCP:80"}, []string{"web TCP:80"}},
		"Rule":     {"targets of a rule", wish{tagged, "shop HTTP:80 shop.example.com/"}, []string{"shop HTTP:80 shop.example.com/"}},
		"Listener": {"not one whose port begins alike", wish{listener, "web TCP:80"}, []string{"web TCP:80"}},
		"Layer7":   {"with its rules", wish{listener, "shop HTTP:80"}, names[1:4]},
		"Removed":  {"another becomes the default", wish{rule, "shop HTTP:80 api.example.com/v1"}, names[2:4]},
		"Foreign":  {"nothing of ours", wish{foreign, "web"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.wish.reach(names)); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

// A picture is the same for what was made again and differs for everything else.
func TestPicture(t *testing.T) {
	take := func(edit func(*model.Listener, *[]model.Target)) picture {
		l := model.Listener{ID: "lbl-1", Name: "a", Protocol: model.TCP, Port: 80, Attributes: model.Attributes{Scheduler: "WRR"}}
		targets := []model.Target{
			{Place: model.Place{Listener: "lbl-1"}, Address: model.Address{IP: "127.0.0.1", Port: 80}, Weight: 10, Tag: "x"},
			{Place: model.Place{Listener: "lbl-1"}, Address: model.Address{IP: "127.0.0.2", Port: 80}, Weight: 10, Tag: "y"},
		}
		edit(&l, &targets)
		return pictureOf(balancer{"web", "lb-1"}, []model.Listener{l}, targets)
	}
	cases := map[string]struct {
		reason string
		edit   func(*model.Listener, *[]model.Target)
		same   bool
	}{
		"Again": {"ids, times and order are nothing", func(l *model.Listener, ts *[]model.Target) {
			l.ID = "lbl-2"
			for i := range *ts {
				(*ts)[i].Listener, (*ts)[i].Registered = "lbl-2", time.Unix(1, 0)
			}
			slices.Reverse(*ts)
		}, true},
		"Weight":   {"a weight", func(_ *model.Listener, ts *[]model.Target) { (*ts)[1].Weight = 0 }, false},
		"Tag":      {"a tag", func(_ *model.Listener, ts *[]model.Target) { (*ts)[1].Tag = "" }, false},
		"Fewer":    {"a target less", func(_ *model.Listener, ts *[]model.Target) { *ts = (*ts)[:1] }, false},
		"Settings": {"a setting", func(l *model.Listener, _ *[]model.Target) { l.Scheduler = "LEAST_CONN" }, false},
		"Name":     {"a name", func(l *model.Listener, _ *[]model.Target) { l.Name = "b" }, false},
	}
	was := take(func(*model.Listener, *[]model.Target) {})["web TCP:80"].text
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if is := take(tc.edit)["web TCP:80"].text; (is == was) != tc.same {
				t.Errorf("%s: was\n%s\nis\n%s", tc.reason, was, is)
			}
		})
	}
}
