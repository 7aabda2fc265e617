package plan

import (
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/clb-direct/clb-direct/shared/model"
)

// At a place taken over, targets of somebody else serve until one of ours does.
func TestTargetsOfOthersServeUntilOneOfOursDoes(t *testing.T) {
	place := model.Place{Listener: "lbl-1"}
	theirs := model.Target{Place: place, Address: model.Address{IP: "10.0.0.1", Port: 30080}, Weight: 10, Instance: "ins-1"}
	pod := model.Target{Place: place, Address: model.Address{IP: "10.0.1.1", Port: 80}, Weight: 10, Tag: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"}
	untagged := pod
	untagged.Tag = ""
	wanted := []model.Wanted{{Target: pod, Bind: true}}
	low := theirs
	low.Weight = 0
	alive := func(keys ...model.Key) func(model.Key) bool {
		return func(k model.Key) bool { return slices.Contains(keys, k) }
	}
	for name, tc := range map[string]struct {
		reason   string
		observed []model.Target
		alive    func(model.Key) bool
		want     TargetPlan
	}{
		"Unseen":       {reason: "health must be read first", observed: []model.Target{theirs}, want: TargetPlan{Steps: []Step{{Bind, []model.Target{pod}}}, Doubts: []model.Target{theirs}}},
		"NobodyYet":    {reason: "the pod is bound beside it", observed: []model.Target{theirs}, alive: alive(theirs.Key()), want: TargetPlan{Steps: []Step{{Bind, []model.Target{pod}}}, Waiting: []model.Target{theirs}}},
		"NotAlive":     {reason: "a pod that the CLB hasn't found healthy doesn't serve", observed: []model.Target{theirs, pod}, alive: alive(theirs.Key()), want: TargetPlan{Waiting: []model.Target{theirs}}},
		"Relieved":     {reason: "the pod serves", observed: []model.Target{theirs, pod}, alive: alive(theirs.Key(), pod.Key()), want: TargetPlan{Steps: []Step{{Lower, []model.Target{low}}}, Waiting: []model.Target{theirs}}},
		"Lowered":      {reason: "nothing new has come for a while", observed: []model.Target{low, pod}, alive: alive(low.Key(), pod.Key()), want: TargetPlan{Steps: []Step{{Unbind, []model.Target{low}}}}},
		"SameAddress":  {reason: "bound by others for this pod, and healthy: adopted, never unbound", observed: []model.Target{untagged}, alive: alive(pod.Key()), want: TargetPlan{Steps: []Step{{Adopt, []model.Target{pod}}}}},
		"ByOtherAgent": {reason: "before it is ours it relieves nobody", observed: []model.Target{theirs, untagged}, alive: alive(theirs.Key(), pod.Key()), want: TargetPlan{Steps: []Step{{Adopt, []model.Target{pod}}}, Waiting: []model.Target{theirs}}},
	} {
		t.Run(name, func(t *testing.T) {
			in := Targets{Places: []model.Place{place}, Wanted: wanted, Observed: tc.observed, Alive: tc.alive, Guests: map[model.Place]bool{place: true}}
			if diff := gocmp.Diff(tc.want, in.Plan(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
