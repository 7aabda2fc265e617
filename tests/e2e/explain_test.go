package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/functions/explain"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// explain asks the function about an object as a person does: the console's test event
// with names of their own, by InvokeFunction.
func (s *space) explain(kind model.Kind, name string) *event.Explanation {
	s.t.Helper()
	asked := strings.NewReplacer("cls-example", stack.ClusterID, `"kind": "Service"`, `"kind": "`+string(kind)+`"`,
		`"namespace": "default"`, `"namespace": "`+s.name+`"`, "nginx-service-eni", name).Replace(string(explain.TestEvent))
	var e struct {
		Data event.Sync `json:"data"`
	}
	s.must(json.Unmarshal([]byte(asked), &e))
	if got, want := e.Data.Objects, (event.Ref{Kind: kind, Namespace: s.name, Name: name}); len(got) != 1 || got[0] != want {
		s.t.Fatalf("the test event asks about %v, want %v", got, want)
	}
	r := s.invoke(event.Explain, asked)
	if r.Failure != nil || r.Explanation == nil || len(r.Writes) > 0 {
		s.t.Fatalf("want an explanation and nothing written, got %+v", r)
	}
	for action := range r.Calls {
		if !strings.HasPrefix(action, "Describe") {
			s.t.Errorf("explain called %s", action)
		}
	}
	return r.Explanation
}

// TestExplainNamesTheCause: "for a Service, Ingress or pod, why each pod is or is not
// Ready", with the rights and through the doors that there are.
func TestExplainNamesTheCause(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("well")
	s.pod("warming", probed, behave(node.KeyFailProbe, "readiness"))
	s.pod("deaf", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "listens-nowhere" })
	s.pod("alone", labelled("nobody"))
	s.ingress("shop")
	s.awaitReady("well")
	deaf := s.awaitIP("deaf")
	s.awaitGate("deaf", corev1.ConditionFalse, readiness.ReasonNotReady, "fails")
	s.awaitGate("warming", corev1.ConditionFalse, readiness.ReasonNotReady)
	lb := s.awaitBalancer("web")
	const unhealthy = "Readiness probe failed: HTTP probe failed with statuscode: 503"
	s.awaitEvent("Pod", "warming", "Unhealthy", unhealthy)

	causes := map[string]string{"well": "", "warming": "(Unhealthy: " + unhealthy + ")", "deaf": "the CLB's health check of " + deaf.Status.PodIP + ":80 fails"}
	e := s.explain(model.KindService, "web")
	if e.Summary != "2 of 3 pods are not ready" || e.LoadBalancer != lb.ID || len(e.Pods) != len(causes) {
		t.Errorf("got:\n%s", e.Text())
	}
	for _, pod := range e.Pods {
		want := causes[pod.Name]
		if pod.Ready != (want == "") || !strings.Contains(pod.Cause, want) || want == "" && pod.Cause != "" {
			t.Errorf("of pod %s want %q, got:\n%s", pod.Name, want, e.Text())
		}
	}
	shop := s.explain(model.KindIngress, "shop")
	if len(shop.Pods) != len(causes) || !strings.Contains(shop.Text(), "Ingress "+s.name+"/shop rule") {
		t.Errorf("the Ingress goes to the same pods, got:\n%s", shop.Text())
	}
	for name, words := range map[string]string{"alone": "nothing of ours selects it", "well": "it is ready", "deaf": "health check of " + deaf.Status.PodIP + ":80 fails", "nobody": "there is no such pod"} {
		if got := s.explain(model.KindPod, name); !strings.Contains(got.Summary, words) {
			t.Errorf("of pod %s want %q, got:\n%s", name, words, got.Text())
		}
	}
}
