package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/shared/model"
)

// awaitGating waits until the API server asks the webhook about the namespace's pods, of
// app=web or another.
func (s *space) awaitGating(app ...string) {
	s.t.Helper()
	s.await("the webhook is registered for the namespace", func() (bool, string) {
		list, err := s.client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(s.t.Context(), metav1.ListOptions{})
		s.must(err)
		for _, c := range list.Items {
			for _, w := range c.Webhooks {
				for _, e := range w.NamespaceSelector.MatchExpressions {
					if slices.Contains(e.Values, s.name) {
						return true, ""
					}
				}
			}
		}
		return false, fmt.Sprintf("%d configurations", len(list.Items))
	})
	s.await("the API server has heard of it", func() (bool, string) {
		pod := bare(s.name, "probe-")
		for _, a := range app {
			pod.Labels["app"] = a
		}
		out, err := s.client.CoreV1().Pods(s.name).Create(s.t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		s.must(err)
		return drainHook(out, 0) != nil, "a pod without a drain hook"
	})
}

// bare is a pod of app=web that no node can take, without a gate.
func bare(namespace, prefix string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: prefix, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"no-node": "has-this"},
			Containers:   []corev1.Container{{Name: "nginx", Image: "nginx"}},
		},
	}
}

func hasGate(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool { return g.ConditionType == model.GateType })
}

// "It serves the mutating webhook that gives a pod its readiness gate, with 1,000 pods
// created at once none left without."
func TestThousandPodsAtOnceGetTheirGate(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	s.awaitGating()
	config := s.Cluster.RESTConfig()
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	s.must(err)
	const pods = 1000
	var missed [pods]bool
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(100)
	for i := range pods {
		g.Go(func() error {
			out, err := client.CoreV1().Pods(s.name).Create(ctx, bare(s.name, "p-"), metav1.CreateOptions{})
			missed[i] = err == nil && !hasGate(out)
			return err
		})
	}
	s.must(g.Wait())
	without := 0
	for _, m := range missed {
		if m {
			without++
		}
	}
	if without > 0 {
		t.Errorf("%d of %d pods have no gate", without, pods)
	}
	s.must(client.CoreV1().Pods(s.name).DeleteCollection(context.WithoutCancel(t.Context()), metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}, metav1.ListOptions{}))
}

// A pod that no claimed Service selects gets no gate, one that has it doesn't get it
// twice.
func TestOnlySelectedPodsGetAGate(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.awaitGating()
	create := func(set func(*corev1.Pod)) *corev1.Pod {
		p := bare(s.name, "p-")
		set(p)
		out, err := s.client.CoreV1().Pods(s.name).Create(t.Context(), p, metav1.CreateOptions{})
		s.must(err)
		return out
	}
	if p := create(func(p *corev1.Pod) { p.Labels["app"] = "other" }); hasGate(p) {
		t.Errorf("no Service selects it, and it has %v", p.Spec.ReadinessGates)
	}
	p := create(func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/other"}, {ConditionType: model.GateType}}
	})
	if n := len(p.Spec.ReadinessGates); n != 2 {
		t.Errorf("want its two gates and no other, got %v", p.Spec.ReadinessGates)
	}
	p = create(func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/other"}}
	})
	if !hasGate(p) || len(p.Spec.ReadinessGates) != 2 {
		t.Errorf("want ours beside its own, got %v", p.Spec.ReadinessGates)
	}
}

// On servers that have admission policies of their own, pods get their gate while the
// webhook is away, and none that isn't theirs.
func TestGateWithoutWebhook(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	s.awaitBalancer("web")
	withoutForwarder(t)
	admitted := func(set ...func(*corev1.Pod)) *corev1.Pod {
		pod := bare(s.name, "probe-")
		for _, f := range set {
			f(pod)
		}
		out, err := s.client.CoreV1().Pods(s.name).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		s.must(err)
		return out
	}
	s.await("the policy gives the gate", func() (bool, string) {
		p := admitted()
		return hasGate(p) && p.Annotations[model.GateMark] == "true", fmt.Sprintf("%v %v", p.Spec.ReadinessGates, p.Annotations)
	})
	other := corev1.PodReadinessGate{ConditionType: "example.com/other"}
	for name, tc := range map[string]struct {
		set  func(*corev1.Pod)
		want int
	}{
		"Had": {func(p *corev1.Pod) {
			p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: model.GateType}}
		}, 1},
		"Beside": {func(p *corev1.Pod) { p.Spec.ReadinessGates = []corev1.PodReadinessGate{other} }, 2},
		"Other":  {func(p *corev1.Pod) { p.Labels["app"] = "other" }, 0},
		"Aside":  {func(p *corev1.Pod) { p.Labels[model.AdmissionLabel] = model.AdmissionOff }, 0},
	} {
		if got := admitted(tc.set).Spec.ReadinessGates; len(got) != tc.want {
			t.Errorf("%s: want %d gates, got %v", name, tc.want, got)
		}
	}
	s.deleteService("web")
	startForwarder(t, "url")
	s.awaitServiceGone("web")
	withoutForwarder(t)
	s.await("the policy forgets it", func() (bool, string) { p := admitted(); return !hasGate(p), "gated" })
}
