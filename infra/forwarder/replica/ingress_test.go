package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// plain makes a Service of type ClusterIP that selects app=name.
func (w *world) plain(t *testing.T, ns, name string) {
	t.Helper()
	_, err := w.client.CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// ingress makes a claimed Ingress over Service name that uses lb; secret is for its
// host, "" for none.
func (w *world) ingress(t *testing.T, ns, name, lb, secret string) {
	t.Helper()
	i := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{desired.IngressDirectAccess: "true", desired.IngressLoadBalancerID: lb}},
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: name + ".example.com", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: new(networkingv1.PathTypePrefix), Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: 80}}}}},
		}}}}},
	}
	if secret != "" {
		i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{name + ".example.com"}, SecretName: secret}}
	}
	if _, err := w.client.NetworkingV1().Ingresses(ns).Create(t.Context(), i, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// about is an event of a function's partition that names an Ingress.
func about(f event.Function, partition, ns, name string) func(event.Request) bool {
	return func(r event.Request) bool {
		return sent(f, partition)(r) && slices.Contains(r.Sync.Objects, event.Ref{Kind: model.KindIngress, Namespace: ns, Name: name})
	}
}

// testIngress has pods behind plain Services served by Ingresses, from their gate to
// the end of the Ingress.
func testIngress(t *testing.T, w *world) {
	w.functions.answers(nil)
	w.namespace(t, "web")
	w.plain(t, "web", "shop")
	w.ingress(t, "web", "shop", "lb-shop", "")
	for _, f := range []event.Function{event.Frontend, event.Backends} {
		eventually(t, "the Ingress at "+string(f), func() bool { return w.functions.seen(about(f, "lb-shop", "web", "shop")) })
	}
	eventually(t, "the namespace's registration", func() bool { return w.registered(t, "web") })
	n := 0
	eventually(t, "a gate", func() bool {
		n++
		return gated(w.mustPod(t, "web", fmt.Sprintf("first-%d", n), "shop"))
	})

	p := w.mustPod(t, "web", "a", "shop")
	if !gated(p) {
		t.Error("a pod behind a claimed Ingress has no gate")
	}
	w.run(t, p, "10.5.0.1")
	eventually(t, "the pod at backends", func() bool { return w.functions.seen(naming("lb-shop", string(p.UID), "10.5.0.1")) })
	eventually(t, "the pod at readiness", func() bool {
		return w.functions.seen(func(r event.Request) bool {
			return r.Function == event.Readiness && strings.HasPrefix(r.Partition, "readiness/") && slices.ContainsFunc(r.Sync.Pods, func(q event.Pod) bool { return q.UID == string(p.UID) })
		})
	})

	// The cache can't know these yet.
	for i := range 20 {
		name := fmt.Sprintf("breath-%02d", i)
		w.plain(t, "web", name)
		w.ingress(t, "web", name, "", "")
		if p := w.mustPod(t, "web", name, name); !gated(p) {
			t.Errorf("%s, made just after its Ingress, has no gate", name)
		}
	}

	w.functions.answers(nil)
	if _, err := w.client.CoreV1().Services("web").Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"spec":{"selector":{"app":"other"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []event.Function{event.Frontend, event.Backends} {
		eventually(t, "the Ingress over a Service that has changed, at "+string(f), func() bool { return w.functions.seen(about(f, "lb-shop", "web", "shop")) })
	}
	eventually(t, "the pod that nothing selects any more", func() bool {
		return w.functions.seen(func(r event.Request) bool {
			return r.Partition == "namespace/web" && slices.ContainsFunc(r.Sync.Pods, func(q event.Pod) bool { return q.UID == string(p.UID) })
		})
	})
	if err := w.client.NetworkingV1().Ingresses("web").Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testSecrets changes secrets, of which one is an Ingress's.
func testSecrets(t *testing.T, w *world, r *Replica) {
	listed := func() bool { return strings.Contains(metricsOf(t, r), `lists_total{resource="secrets"}`) }
	if listed() {
		t.Error("secrets are watched though no Ingress names one")
	}
	secrets := w.client.CoreV1().Secrets("web")
	change := func(name, value string) {
		t.Helper()
		if _, err := secrets.Patch(t.Context(), name, types.MergePatchType, []byte(`{"stringData":{"qcloud_cert_id":"`+value+`"}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cert", "unrelated"} {
		if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.ingress(t, "web", "safe", "lb-safe", "cert")
	w.ingress(t, "web", "open", "lb-open", "")
	for _, lb := range []string{"lb-safe", "lb-open"} {
		eventually(t, "the new Ingress of "+lb, func() bool { return w.functions.seen(sent(event.Frontend, lb)) })
	}
	eventually(t, "the watch of secrets", listed)
	w.functions.answers(nil)
	change("unrelated", "other")
	change("cert", "another")
	eventually(t, "the change", func() bool { return w.functions.seen(sent(event.Frontend, "lb-safe")) })
	if w.functions.seen(sent(event.Frontend, "lb-open")) {
		t.Error("an Ingress that names no secret was sent")
	}
}
