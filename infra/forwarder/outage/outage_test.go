package outage

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// writer notes what is written, and answers as told.
type writer struct {
	conditions []string
	events     []string
	err        error
}

func (w *writer) PatchCondition(_ context.Context, p *model.Pod, c model.Condition, _ bool, _ time.Time) error {
	if w.err != nil {
		return w.err
	}
	w.conditions = append(w.conditions, p.Name+" "+c.Reason)
	return nil
}

func (w *writer) Record(_ context.Context, n kube.Note, _ time.Time) error {
	w.events = append(w.events, n.Ref.Name+" "+n.Reason)
	return nil
}

// service is a claimed one that selects app=web, with a readiness policy.
func service(name, lb, policy string) model.Service {
	return model.Service{
		Front: model.Front{Kind: model.KindService, Namespace: "shop", Name: name, UID: "uid-" + name, ResourceVersion: "1",
			Annotations: map[string]string{desired.DirectAccess: "true", desired.LoadBalancerID: lb, desired.ReadinessPolicy: policy}},
		Type: "LoadBalancer", Selector: map[string]string{"app": "web"}, Ports: []model.ServicePort{{Protocol: model.TCP, Port: 80, TargetPort: 80}},
	}
}

func TestOpener(t *testing.T) {
	const minute = "open-after=1m"
	cases := map[string]struct {
		reason   string
		services []model.Service
		pod      func(*model.Pod)
		// answered is when the function last answered, after start; silent that it doesn't now.
		answered time.Duration
		loud     bool
		at       time.Duration
		err      error
		want     []string
	}{
		"Opens":      {reason: "nobody has answered for as long as the policy says", services: []model.Service{service("web", "lb-1", minute)}, at: 2 * time.Minute, want: []string{"a OpenedByPolicy"}},
		"Closed":     {reason: "nobody asked for it", services: []model.Service{service("web", "lb-1", "closed")}, at: time.Hour},
		"Unreadable": {reason: "what can't be read counts as closed", services: []model.Service{service("web", "lb-1", "open-after=soon")}, at: time.Hour},
		"OneOfTwo":   {reason: "all that select it must allow it", services: []model.Service{service("web", "lb-1", minute), service("other", "lb-2", "")}, at: time.Hour},
		"Longest":    {reason: "and none sooner than it says", services: []model.Service{service("web", "lb-1", minute), service("other", "lb-2", "open-after=10m")}, at: 9 * time.Minute},
		"Answers":    {reason: "who answers knows better", services: []model.Service{service("web", "lb-1", minute)}, loud: true, at: time.Hour},
		"JustSilent": {reason: "one send in vain is no outage", services: []model.Service{service("web", "lb-1", minute)}, answered: time.Hour, at: time.Hour + 59*time.Second},
		"JustReady":  {reason: "the containers have only been ready for less", services: []model.Service{service("web", "lb-1", minute)}, pod: func(p *model.Pod) { p.ContainersReadySince = start.Add(90 * time.Second) }, at: 2 * time.Minute},
		"NotReady":   {reason: "its own probes say no", services: []model.Service{service("web", "lb-1", minute)}, pod: func(p *model.Pod) { p.ContainersReady = false }, at: time.Hour},
		"Dead": {reason: "the CLB said no when there was somebody to hear it", services: []model.Service{service("web", "lb-1", minute)}, at: time.Hour, pod: func(p *model.Pod) {
			d := readiness.Decide(readiness.Observation{Pod: p, Now: start, Bindings: []readiness.Binding{{Name: "x", State: readiness.Listening, Weight: 10, Health: model.Dead,
				Target: &model.Target{Weight: 10, Tag: p.UID}}}})
			p.Gate = &model.Condition{Reason: d.Reason, Message: d.Message, Since: start}
		}},
		"Going": {reason: "nobody waits for it", services: []model.Service{service("web", "lb-1", minute)}, pod: func(p *model.Pod) { p.Deleting = true }, at: time.Hour},
		"Open": {reason: "it is", services: []model.Service{service("web", "lb-1", minute)}, pod: func(p *model.Pod) {
			p.Gate = &model.Condition{Status: true, Reason: readiness.ReasonOpened, Since: start}
		}, at: time.Hour},
		"Beaten": {reason: "somebody else wrote first", services: []model.Service{service("web", "lb-1", minute)}, at: time.Hour, err: fault.New(fault.Conflict, "writing", nil)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			x := index.New(desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation, Network: desired.VPCCNI})
			for _, s := range tc.services {
				x.SetService(s)
			}
			p := model.Pod{Namespace: "shop", Name: "a", UID: "uid-a", ResourceVersion: "1", Phase: "Running", IP: "10.0.0.1", Gated: true,
				Labels: map[string]string{"app": "web"}, Created: start, ContainersReady: true, ContainersReadySince: start}
			if tc.pod != nil {
				tc.pod(&p)
			}
			x.SetPod(p)
			w := &writer{err: tc.err}
			opened := 0
			o := &Opener{
				Index: x, Writer: w, Opened: func() { opened++ }, Now: func() time.Time { return start.Add(tc.at) }, Log: slog.New(slog.DiscardHandler),
				Silent: func(work.Key) (time.Time, bool) { return start.Add(tc.answered), !tc.loud },
			}
			o.Look(t.Context())
			if diff := cmp.Diff(tc.want, w.conditions); diff != "" || opened != len(tc.want) || len(w.events) != len(tc.want) {
				t.Errorf("%s: counted %d, events %v, -want +got:\n%s", tc.reason, opened, w.events, diff)
			}
		})
	}
}
