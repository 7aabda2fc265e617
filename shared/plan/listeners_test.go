package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/model"
)

// wantListener is a listener of the Service with the given UID, created so many
// minutes after the first.
func wantListener(uid string, minutes int, protocol model.Protocol, port int) model.WantedListener {
	return model.WantedListener{
		Name: fmt.Sprintf("own_%s_%s_%d", uid, protocol, port), Protocol: protocol, Port: port,
		Owner: owner(uid, minutes),
	}
}

// owner is an object created so many minutes after the first.
func owner(uid string, minutes int) *model.Front {
	return &model.Front{UID: uid, Created: started.Add(time.Duration(minutes) * time.Minute)}
}

// haveListener is w as it stands on the CLB.
func haveListener(w model.WantedListener) model.Listener {
	return model.Listener{ID: "lbl-" + w.Name, Name: w.Name, Protocol: w.Protocol, Port: w.Port, Attributes: model.Attributes{HealthCheck: model.DefaultHealthCheck, Scheduler: "WRR"}}
}

func foreign(name string, protocol model.Protocol, port int) model.Listener {
	return model.Listener{ID: "lbl-" + name, Name: name, Protocol: protocol, Port: port}
}

func ownsAll(name string) bool { return strings.HasPrefix(name, "own_") }

func TestListenersPlan(t *testing.T) {
	// The older Service has the higher UID: age goes first.
	one, two := wantListener("u2", 0, model.TCP, 80), wantListener("u1", 1, model.TCP, 80)
	udp := wantListener("u2", 0, model.UDP, 80)
	ten := 10
	tuned := one
	tuned.Settings.Interval = &ten
	on := true
	shared := func(o *model.Front, keep *bool) model.WantedListener {
		return model.WantedListener{Name: "own_lb_HTTP_80", Protocol: model.HTTP, Port: 80, Owner: o, KeepAlive: keep}
	}
	alive := haveListener(shared(one.Owner, nil))
	alive.KeepAlive = true
	slow := haveListener(one)
	slow.HealthCheck.Interval = 10
	taken := func(l model.Listener) model.Listener {
		l.Name = one.Name
		return l
	}
	theirs := foreign("theirs", model.TCP, 80)
	all := func(model.WantedListener, model.Listener) bool { return true }
	cases := map[string]struct {
		reason string
		args   Listeners
		want   ListenerPlan
	}{
		"Take": {
			reason: "one of others at the port becomes the wanted one, and keeps what is bound there",
			args:   Listeners{Wanted: []model.WantedListener{one}, Observed: []model.Listener{theirs}, Takes: all},
			want:   ListenerPlan{Take: []ListenerChange{{Have: theirs, Want: taken(theirs)}}, Have: map[string]model.Listener{one.Name: taken(theirs)}},
		},
		"TakeForTheOlder": {
			reason: "of two that want it the older has it",
			args:   Listeners{Wanted: []model.WantedListener{two, one}, Observed: []model.Listener{theirs}, Takes: all},
			want: ListenerPlan{
				Take: []ListenerChange{{Have: theirs, Want: taken(theirs)}}, Have: map[string]model.Listener{one.Name: taken(theirs)},
				Conflicts: []Conflict{{Wanted: two, By: one.Name}},
			},
		},
		"TakeNoOtherProtocol": {
			reason: "a listener's protocol can't be changed",
			args:   Listeners{Wanted: []model.WantedListener{one}, Observed: []model.Listener{foreign("theirs", "TCP_SSL", 80)}, Takes: all},
			want:   ListenerPlan{Conflicts: []Conflict{{Wanted: one, By: "theirs", Foreign: true}}},
		},
		"Nothing": {reason: "nothing wanted, nothing there", want: ListenerPlan{Have: map[string]model.Listener{}}},
		"Create": {
			reason: "wanted and not there is made",
			args:   Listeners{Wanted: []model.WantedListener{one}},
			want:   ListenerPlan{Create: []model.WantedListener{one}},
		},
		"Same": {
			reason: "there already, and nothing said about settings",
			args:   Listeners{Wanted: []model.WantedListener{one}, Observed: []model.Listener{slow}},
			want:   ListenerPlan{Have: map[string]model.Listener{one.Name: slow}},
		},
		"Modify": {
			reason: "a setting that differs is changed, the others are left as they are",
			args:   Listeners{Wanted: []model.WantedListener{tuned}, Observed: []model.Listener{haveListener(one)}},
			want: ListenerPlan{
				Modify: []ListenerChange{{Have: haveListener(one), Want: slow}},
				Have:   map[string]model.Listener{one.Name: haveListener(one)},
			},
		},
		"Delete": {
			reason: "ours, and nobody wants it any more",
			args:   Listeners{Observed: []model.Listener{haveListener(one)}},
			want:   ListenerPlan{Delete: []model.Listener{haveListener(one)}},
		},
		"ForeignStays": {
			reason: "a listener that isn't ours is nobody's to delete",
			args:   Listeners{Observed: []model.Listener{foreign("theirs", model.TCP, 80)}},
		},
		"ForeignKeepsItsPort": {
			reason: "HTTP runs over TCP: the port is taken",
			args:   Listeners{Wanted: []model.WantedListener{one}, Observed: []model.Listener{foreign("theirs", "HTTP", 80)}},
			want:   ListenerPlan{Conflicts: []Conflict{{Wanted: one, By: "theirs", Foreign: true}}},
		},
		"UDPBesideTCP": {
			reason: "TCP and UDP share a port number",
			args:   Listeners{Wanted: []model.WantedListener{udp}, Observed: []model.Listener{foreign("theirs", model.TCP, 80)}},
			want:   ListenerPlan{Create: []model.WantedListener{udp}},
		},
		"QUICIsOverUDP": {
			reason: "so they don't share one",
			args:   Listeners{Wanted: []model.WantedListener{udp}, Observed: []model.Listener{foreign("theirs", "QUIC", 80)}},
			want:   ListenerPlan{Conflicts: []Conflict{{Wanted: udp, By: "theirs", Foreign: true}}},
		},
		"OldestKeepsThePort": {
			reason: "of two Services the one created first has it",
			args:   Listeners{Wanted: []model.WantedListener{two, one}},
			want:   ListenerPlan{Create: []model.WantedListener{one}, Conflicts: []Conflict{{Wanted: two, By: one.Name}}},
		},
		"ThenTheLowerUID": {
			reason: "created in the same second",
			args:   Listeners{Wanted: []model.WantedListener{wantListener("u3", 0, model.TCP, 80), one}},
			want:   ListenerPlan{Create: []model.WantedListener{one}, Conflicts: []Conflict{{Wanted: wantListener("u3", 0, model.TCP, 80), By: one.Name}}},
		},
		"FreeForTheOlder": {
			reason: "the younger one's listener goes before the older one's can be made",
			args:   Listeners{Wanted: []model.WantedListener{one, two}, Observed: []model.Listener{haveListener(two)}},
			want:   ListenerPlan{Free: []model.Listener{haveListener(two)}, Create: []model.WantedListener{one}, Conflicts: []Conflict{{Wanted: two, By: one.Name}}},
		},
		"SharedByIngresses": {
			reason: "two Ingresses want one listener: the older one's words count, and it is no conflict",
			args:   Listeners{Wanted: []model.WantedListener{shared(two.Owner, nil), shared(one.Owner, &on)}},
			want:   ListenerPlan{Create: []model.WantedListener{shared(one.Owner, &on)}},
		},
		"KeepAlive": {
			reason: "of a layer-7 listener only that is its own; a rule's settings are the rule's",
			args:   Listeners{Wanted: []model.WantedListener{shared(one.Owner, &on)}, Observed: []model.Listener{haveListener(shared(one.Owner, nil))}},
			want: ListenerPlan{
				Modify: []ListenerChange{{Have: haveListener(shared(one.Owner, nil)), Want: alive}},
				Have:   map[string]model.Listener{alive.Name: haveListener(shared(one.Owner, nil))},
			},
		},
		"KeptForOthers": {
			reason: "nobody wants it, but it carries rules of others",
			args:   Listeners{Observed: []model.Listener{haveListener(one)}, Keep: func(model.Listener) bool { return true }},
		},
		"FreeForAnotherProtocol": {
			reason: "a port that changed from TCP_SSL to TCP is in its own way",
			args:   Listeners{Wanted: []model.WantedListener{one}, Observed: []model.Listener{haveListener(wantListener("u2", 0, "TCP_SSL", 80))}},
			want:   ListenerPlan{Free: []model.Listener{haveListener(wantListener("u2", 0, "TCP_SSL", 80))}, Create: []model.WantedListener{one}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.args.Owns = ownsAll
			if diff := gocmp.Diff(tc.want, tc.args.Plan(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// ports are listeners of a CLB by the slot they take.
type ports map[string]model.Listener

func slotOf(p model.Protocol, port int) string {
	return fmt.Sprintf("%d/%t", port, model.PortClash(p, model.UDP))
}

func (ps ports) apply(p ListenerPlan) error {
	remove := func(ls []model.Listener) error {
		for _, l := range ls {
			if !gocmp.Equal(ps[slotOf(l.Protocol, l.Port)], l) {
				return fmt.Errorf("deleting %s, which isn't there", l.Name)
			}
			delete(ps, slotOf(l.Protocol, l.Port))
		}
		return nil
	}
	for _, c := range p.Take {
		if !gocmp.Equal(ps[slotOf(c.Have.Protocol, c.Have.Port)], c.Have) {
			return fmt.Errorf("taking %s, which isn't there", c.Have.Name)
		}
		if c.Want.ID != c.Have.ID {
			return fmt.Errorf("taking %s: it is another one afterwards", c.Have.Name)
		}
		ps[slotOf(c.Want.Protocol, c.Want.Port)] = c.Want
	}
	if err := remove(p.Free); err != nil {
		return err
	}
	for _, c := range p.Modify {
		if !gocmp.Equal(ps[slotOf(c.Have.Protocol, c.Have.Port)], c.Have) {
			return fmt.Errorf("changing %s, which isn't there", c.Have.Name)
		}
		ps[slotOf(c.Want.Protocol, c.Want.Port)] = c.Want
	}
	for _, w := range p.Create {
		if by, taken := ps[slotOf(w.Protocol, w.Port)]; taken {
			return fmt.Errorf("creating %s: the port is %s's", w.Name, by.Name)
		}
		made := haveListener(w)
		made.Attributes, _ = w.Settings.Apply(made.Attributes)
		ps[slotOf(w.Protocol, w.Port)] = made
	}
	return remove(p.Delete)
}

// listenerLaws checks the laws of a plan for listeners: u1 and u2 are the Services
// it speaks for, u3's listeners carry a name of ours but are not its business.
func listenerLaws(t *rapid.T) {
	speaksFor := func(name string) bool {
		return strings.HasPrefix(name, "own_u1_") || strings.HasPrefix(name, "own_u2_")
	}
	in := Listeners{Owns: speaksFor}
	clb := ports{}
	for _, port := range []int{80, 443} {
		for _, protocol := range []model.Protocol{model.TCP, model.UDP} {
			for i, uid := range []string{"u1", "u2"} {
				if rapid.Bool().Draw(t, "wanted") {
					w := wantListener(uid, rapid.IntRange(0, 1).Draw(t, "age")+i, protocol, port)
					if rapid.Bool().Draw(t, "tuned") {
						interval := rapid.SampledFrom([]int{5, 10}).Draw(t, "interval")
						w.Settings.Interval = &interval
					}
					in.Wanted = append(in.Wanted, w)
				}
			}
			switch owner := rapid.SampledFrom([]string{"", "u1", "u2", "u3", "theirs"}).Draw(t, "stands"); owner {
			case "":
			case "theirs":
				l := foreign("theirs", protocol, port)
				l.ID += slotOf(protocol, port)
				clb[slotOf(protocol, port)] = l
			default:
				clb[slotOf(protocol, port)] = haveListener(wantListener(owner, 0, protocol, port))
			}
		}
	}
	takes := rapid.Bool().Draw(t, "takes")
	in.Takes = func(w model.WantedListener, o model.Listener) bool { return takes && o.Name == "theirs" }
	before := map[string]model.Listener{}
	for k, l := range clb {
		before[k] = l
		in.Observed = append(in.Observed, l)
	}
	slices.SortFunc(in.Observed, func(a, b model.Listener) int { return cmp.Compare(a.ID, b.ID) })
	p := in.Plan()
	if err := clb.apply(p); err != nil {
		t.Fatalf("the CLB refuses the plan: %v", err)
	}
	lost := map[string]bool{}
	for _, c := range p.Conflicts {
		lost[c.Wanted.Name] = true
		if c.By == c.Wanted.Name || clb[slotOf(c.Wanted.Protocol, c.Wanted.Port)].Name != c.By {
			t.Fatalf("conflict of %s names %s, but %+v is there", c.Wanted.Name, c.By, clb[slotOf(c.Wanted.Protocol, c.Wanted.Port)])
		}
	}
	wanted := map[string]bool{}
	for _, w := range in.Wanted {
		wanted[w.Name] = true
		got := clb[slotOf(w.Protocol, w.Port)]
		if _, changed := w.Settings.Apply(got.Attributes); !lost[w.Name] && (got.Name != w.Name || changed) {
			t.Fatalf("want %s with its settings, got %+v", w.Name, got)
		}
	}
	for k, l := range clb {
		if speaksFor(l.Name) && !wanted[l.Name] {
			t.Fatalf("%s is still there, and nobody wants it", l.Name)
		}
		if !speaksFor(l.Name) && !gocmp.Equal(before[k], l) {
			t.Fatalf("%s is not ours, but was changed", l.Name)
		}
	}
	for k, l := range before {
		if takes && l.Name == "theirs" && clb[k].ID == l.ID {
			continue // by another name, it is what was wanted: checked above
		}
		if _, still := clb[k]; !still && !speaksFor(l.Name) {
			t.Fatalf("%s is not ours, but was deleted", l.Name)
		}
	}

	again := in
	again.Observed = nil
	for _, l := range clb {
		again.Observed = append(again.Observed, l)
	}
	second := again.Plan()
	if !second.Empty() {
		t.Fatalf("planning again is not empty: %+v", second)
	}
	if diff := gocmp.Diff(p.Conflicts, second.Conflicts); diff != "" {
		t.Fatalf("conflicts changed: -first +second:\n%s", diff)
	}
	shuffled := in
	shuffled.Wanted = rapid.Permutation(in.Wanted).Draw(t, "order of wanted")
	shuffled.Observed = rapid.Permutation(in.Observed).Draw(t, "order of observed")
	if diff := gocmp.Diff(p, shuffled.Plan(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("the plan depends on the order of its input: -want +got:\n%s", diff)
	}
}

func TestListenerLaws(t *testing.T) { rapid.Check(t, listenerLaws) }

func FuzzListenerLaws(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef"))
	f.Fuzz(rapid.MakeFuzz(listenerLaws))
}
