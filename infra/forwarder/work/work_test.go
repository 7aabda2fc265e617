package work

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/event"
)

func at(name, uid, ip, version string) event.Pod {
	return event.Pod{Namespace: "default", Name: name, UID: uid, IP: ip, ResourceVersion: version}
}

func TestMergeKeepsAddressesApartAndTheNewestVersion(t *testing.T) {
	l := Of(at("a", "1", "10.0.0.1", "9"), at("b", "1", "", "5")).Merge(Of(at("a", "1", "10.0.0.1", "10"), at("a", "1", "10.0.0.2", "7"), at("a", "2", "10.0.0.1", "8")))
	want := []event.Pod{at("a", "1", "10.0.0.1", "10"), at("a", "1", "10.0.0.2", "7"), at("a", "2", "10.0.0.1", "8"), at("b", "1", "", "5")}
	if diff := cmp.Diff(want, l.Pods()); diff != "" {
		t.Errorf("a pod at an old address, and its namesake, are pods of their own: -want +got\n%s", diff)
	}
}

// view is a look as others see it.
type view struct {
	All, Urgent bool
	Objects     []event.Ref
	Version     string
	Since       time.Time
	Pods        []event.Pod
}

func of(l Look) view {
	return view{l.All, l.Urgent, l.Objects, l.Version, l.Since, l.Pods()}
}

func draw(rt *rapid.T, name string) Look {
	l := Look{All: rapid.Bool().Draw(rt, name), Urgent: rapid.Bool().Draw(rt, name), Version: rapid.StringMatching(`[1-9][0-9]{0,3}`).Draw(rt, name)}
	if s := rapid.IntRange(0, 5).Draw(rt, name); s > 0 {
		l.Since = time.Unix(int64(s), 0)
	}
	for _, n := range rapid.SliceOfDistinct(rapid.IntRange(0, 4), rapid.ID).Draw(rt, name) {
		l.Objects = append(l.Objects, event.Ref{Namespace: "default", Name: string(rune('a' + n))})
	}
	for range rapid.IntRange(0, 5).Draw(rt, name) {
		l.add(at(rapid.SampledFrom([]string{"a", "b"}).Draw(rt, name), "u", rapid.SampledFrom([]string{"", "10.0.0.1"}).Draw(rt, name), l.Version))
	}
	return l
}

// TestMergeLaws: a look merged with itself or with nothing is the look, the order of
// merging doesn't matter, and what is merged isn't touched.
func TestMergeLaws(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b, c := draw(rt, "a"), draw(rt, "b"), draw(rt, "c")
		before := of(a)
		if diff := cmp.Diff(of(a.Merge(b).Merge(c)), of(a.Merge(b.Merge(c)))); diff != "" {
			rt.Errorf("not associative:\n%s", diff)
		}
		if diff := cmp.Diff(of(a), of(a.Merge(a))); diff != "" {
			rt.Errorf("not idempotent:\n%s", diff)
		}
		if diff := cmp.Diff(of(a), of(a.Merge(Look{}))); diff != "" {
			rt.Errorf("the empty look adds something:\n%s", diff)
		}
		if diff := cmp.Diff(before, of(a)); diff != "" {
			rt.Errorf("merging has changed what was merged:\n%s", diff)
		}
	})
}

// TestAbsorbIsMergeInPlace: the same for few pods, for many all of them; and nothing that
// was absorbed is touched, then or by what is absorbed later.
func TestAbsorbIsMergeInPlace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b, c := draw(rt, "a"), draw(rt, "b"), draw(rt, "c")
		before := of(b)
		var l Look
		for _, m := range []Look{a, b, c} {
			l.Absorb(m)
		}
		if diff := cmp.Diff(of(a.Merge(b).Merge(c)), of(l)); diff != "" {
			rt.Errorf("-merged +absorbed\n%s", diff)
		}
		if diff := cmp.Diff(before, of(b)); diff != "" {
			rt.Errorf("absorbing has changed what was absorbed:\n%s", diff)
		}
	})
}

func TestManyPodsTakeNoMoreRoom(t *testing.T) {
	var l Look
	drained := at("going", "u", "10.0.0.1", "1")
	drained.Draining = "app=id"
	l.Absorb(Of(drained))
	for i := range 10 * event.MaxPods {
		l.Absorb(Of(at(fmt.Sprint("p", i), "u", "10.0.0.1", "2")))
		if l.Len() > event.MaxPods+1 {
			t.Fatalf("%d pods are remembered one by one", l.Len())
		}
	}
	if !l.All || !slices.Contains(l.Pods(), drained) {
		t.Errorf("All is %v, the drained pod among %v", l.All, l.Pods())
	}
}
