package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/clb-direct/clb-direct/shared/admission"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// slips are the ways in which pods slip through admission: they were created before their
// object was claimed, or while webhook or forwarder were away. What a pod lacks it can't
// get any more.
var slips = []struct {
	reason, message string
	is              func(*model.Pod) bool
}{
	{"PodsWithoutGate", "%d pods have no readiness gate and count as Ready before the load balancer has found them healthy: %s; a pod gets one when it is created, so replace them",
		func(p *model.Pod) bool { return !p.Gated }},
	{"PodsWithoutDrain", "%d pods are told to end before the load balancer has stopped sending to them: %s; a pod gets its drain hook when it is created, by the forwarder's webhook, so replace them, and see that the Service for drains is there if new ones have none either",
		func(p *model.Pod) bool {
			return p.Bare && p.Annotations[model.DrainToken] == "" && admission.Hold(p.Annotations, int64(p.Grace.Seconds())) > 0
		}},
}

// tellSlipped tells of the pods that slipped through, on the objects that select them.
func (p *pass) tellSlipped(ctx context.Context, s *survey) {
	for _, slip := range slips {
		for subject, names := range s.slipped(slip.is) {
			p.reply.Slipped += len(names)
			p.warn(ctx, subject.Front, slip.reason, fmt.Sprintf(slip.message, len(names), some(names)))
		}
	}
}

// slipped are the pods behind each object that could be bound, were not kept clear of
// admission, and of which is holds.
func (s *survey) slipped(is func(*model.Pod) bool) map[*subject][]string {
	out := map[*subject][]string{}
	claimed := s.claimed(slices.Clone(s.subjects))
	bySubject := map[*model.Front]*subject{}
	for _, subject := range claimed {
		bySubject[subject.Front] = subject
	}
	selected := desired.NewSelected(backingsOf(claimed))
	for _, pod := range s.pods {
		if pod.Terminal() || pod.Deleting || pod.Labels[model.AdmissionLabel] == model.AdmissionOff || !is(pod) {
			continue
		}
		if ok, _ := desired.Direct(pod, s.Policy); !ok {
			continue
		}
		for _, f := range frontsOf(selected.Of(pod)) {
			out[bySubject[f]] = append(out[bySubject[f]], pod.Name)
		}
	}
	for _, names := range out {
		slices.Sort(names)
	}
	return out
}
