package leave

import (
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/clb-direct/clb-direct/infra/forwarder/webhook"
	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/shared/model"
)

// stage is an API server with a webhook's configuration and pods.
type stage struct {
	*testing.T
	client kubernetes.Interface
}

func (s *stage) pod(name string, gated bool) {
	s.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	if gated {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: model.GateType}}
	}
	if _, err := s.client.CoreV1().Pods("default").Create(s.Context(), p, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) status(name string, edit func(*corev1.PodStatus)) {
	s.Helper()
	// The scheduler writes to it, too.
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		p, err := s.client.CoreV1().Pods("default").Get(s.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		edit(&p.Status)
		_, err = s.client.CoreV1().Pods("default").UpdateStatus(s.Context(), p, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) webhook() *admissionregistrationv1.MutatingWebhookConfiguration {
	s.Helper()
	c, err := s.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(s.Context(), "clb-direct", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *stage) options(timeout time.Duration) Options {
	return Options{
		Client: s.client, Configuration: "clb-direct", Policy: "clb-direct-gate",
		Timeout: timeout, Every: 10 * time.Millisecond, Now: time.Now, Say: func(waiting []string) { s.Log(waiting) },
	}
}

// Leaving waits for every gate that was given, refuses to go where one isn't met, names
// the pod, and takes its word back.
func TestLeavingWaitsForEveryGate(t *testing.T) {
	c, err := cluster.Start(t.Context(), cluster.Options{Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := &stage{T: t}
	if s.client, err = kubernetes.NewForConfig(c.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), s.options(time.Minute)); err != nil {
		t.Errorf("nothing was ever installed: %v", err)
	}
	_, err = s.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "clb-direct"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:         webhook.WebhookName,
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new("https://127.0.0.1:1/mutate")},
			SideEffects:  new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.pod("plain", false)
	s.pod("over", true)
	s.status("over", func(st *corev1.PodStatus) { st.Phase = corev1.PodFailed })
	s.pod("waits", true)
	err = Run(t.Context(), s.options(100*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "default/waits") || strings.Contains(err.Error(), "default/over") || strings.Contains(err.Error(), "default/plain") {
		t.Errorf("want the one pod that waits named, got %v", err)
	}
	if at := s.webhook().Annotations[webhook.Leaving]; at != "" {
		t.Errorf("nobody leaves, but the webhook says so since %s", at)
	}
	s.status("waits", func(st *corev1.PodStatus) {
		st.Conditions = append(st.Conditions, corev1.PodCondition{Type: model.GateType, Status: corev1.ConditionTrue})
	})
	for range 2 {
		if err := Run(t.Context(), s.options(time.Minute)); err != nil {
			t.Errorf("every gate is met: %v", err)
		}
	}
	left := s.webhook()
	if left.Annotations[webhook.Leaving] == "" || left.Webhooks[0].NamespaceSelector.MatchExpressions[0].Values[0] == "default" {
		t.Errorf("want a webhook that matches nothing, got %+v", left)
	}
}
