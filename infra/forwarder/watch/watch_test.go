package watch

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/cache"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

func service(t corev1.ServiceType, finalizers ...string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "web", UID: "u", ResourceVersion: "1", Finalizers: finalizers,
			Labels:        map[string]string{"a": "b"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
			Annotations:   map[string]string{desired.DirectAccess: "true", corev1.LastAppliedConfigAnnotation: "{}"},
		},
		Spec: corev1.ServiceSpec{
			Type: t, ClusterIP: "10.0.0.1", Selector: map[string]string{"app": "web"}, LoadBalancerClass: new("clb-direct.io/clb"),
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80), NodePort: 30000, Protocol: corev1.ProtocolTCP}},
		},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "1.2.3.4"}}}},
	}
}

func TestTrimIsIdempotentAndKeepsWhatIsRead(t *testing.T) {
	cases := map[string]struct {
		reason string
		svc    *corev1.Service
		same   bool
	}{
		"LoadBalancer": {"may be ours", service(corev1.ServiceTypeLoadBalancer), true},
		"Held":         {"was ours: what it was is needed to release it", service(corev1.ServiceTypeClusterIP, desired.Finalizer), true},
		"ClusterIP":    {"can't be ours", service(corev1.ServiceTypeClusterIP), false},
	}
	policy := desired.Policy{Claim: desired.ByAnnotation}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := kube.ServiceFrom(tc.svc)
			once := trimService(tc.svc.DeepCopy())
			twice := trimService(once.DeepCopy())
			if diff := cmp.Diff(once, twice); diff != "" {
				t.Errorf("%s: trimmed twice is not trimmed once: %s", tc.reason, diff)
			}
			after := kube.ServiceFrom(once)
			wasClaimed, _ := desired.Claimed(desired.ServiceObject(&before), policy)
			isClaimed, _ := desired.Claimed(desired.ServiceObject(&after), policy)
			if wasClaimed != isClaimed || desired.Held(&before.Front) != desired.Held(&after.Front) {
				t.Errorf("%s: claimed %v and held %v became %v and %v", tc.reason, wasClaimed, desired.Held(&before.Front), isClaimed, desired.Held(&after.Front))
			}
			delete(before.Annotations, corev1.LastAppliedConfigAnnotation)
			if tc.same {
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("%s: -untrimmed +trimmed\n%s", tc.reason, diff)
				}
				return
			}
			before.Front, after.Front = model.Front{}, model.Front{Annotations: after.Annotations}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s, but an Ingress may name it: -untrimmed +trimmed\n%s", tc.reason, diff)
			}
		})
	}
	for name, o := range map[string]metav1.Object{"v1": &networkingv1.Ingress{}, "networking/v1beta1": &networkingv1beta1.Ingress{}, "extensions/v1beta1": &extensionsv1beta1.Ingress{}} {
		o.SetAnnotations(map[string]string{desired.IngressDirectAccess: "true", corev1.LastAppliedConfigAnnotation: "{}"})
		o.SetFinalizers([]string{desired.IngressFinalizer})
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
		o.SetLabels(map[string]string{"a": "b"})
		got, err := Trim(o)
		if err != nil {
			t.Fatal(err)
		}
		ing, err := kube.IngressFrom(got.(runtime.Object))
		if err != nil {
			t.Fatal(err)
		}
		want := model.Front{Kind: model.KindIngress, Annotations: map[string]string{desired.IngressDirectAccess: "true"}, Finalizers: []string{desired.IngressFinalizer}}
		if diff := cmp.Diff(want, ing.Front); diff != "" || len(o.GetManagedFields())+len(o.GetLabels()) > 0 {
			t.Errorf("Ingress of %s: trimmed to %+v\n-want +got\n%s", name, o, diff)
		}
	}
	if _, err := Trim(&corev1.Node{}); !errors.Is(err, errUnknown) {
		t.Errorf("a Node: %v", err)
	}
	if got, err := Trim(cache.DeletedFinalStateUnknown{Key: "a"}); err != nil || got == nil {
		t.Errorf("a tombstone: %v, %v", got, err)
	}
}

// stream is a watch's body that gives a byte per pause, then nothing.
type stream struct {
	pauses []time.Duration
	closed chan struct{}
}

func (s *stream) Read(b []byte) (int, error) {
	if len(s.pauses) == 0 {
		<-s.closed
		return 0, errors.New("closed")
	}
	time.Sleep(s.pauses[0])
	s.pauses = s.pauses[1:]
	b[0] = '.'
	return 1, nil
}

func (s *stream) Close() error { close(s.closed); return nil }

func TestSilentWatchIsBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pulse{Now: time.Now, Silence: 90 * time.Second}
		body := &stream{pauses: []time.Duration{time.Minute, time.Minute, time.Minute}, closed: make(chan struct{})}
		rt := p.Wrap(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
		}))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/api/v1/pods?watch=true&sendInitialEvents=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		n, err := io.Copy(io.Discard, resp.Body)
		if n != 3 || err == nil || time.Since(began) != 3*time.Minute+90*time.Second {
			t.Errorf("read %d for %s (%v); want 3 at a minute each, then an end after 90 s", n, time.Since(began), err)
		}
		if diff := cmp.Diff(map[string]int{"pods": 1}, p.Lists()); diff != "" {
			t.Errorf("lists: -want +got\n%s", diff)
		}
		if got := p.Ages()["pods"]; got != 90*time.Second {
			t.Errorf("silent for %s, want 90 s", got)
		}
	})
}

func TestPulseFeelsOnlyClusterWideWatches(t *testing.T) {
	p := &Pulse{Now: time.Now}
	rt := p.Wrap(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	for _, u := range []string{
		"/api/v1/pods?limit=500", "/api/v1/pods?limit=500&continue=x", "/api/v1/services?watch=true", "/api/v1/namespaces/a/services",
		"/apis/cloud.tencent.com/v1alpha1/tkeserviceconfigs", "/api/v1/nodes", "/api/v1/namespaces/pods",
		"/apis/networking.k8s.io/v1/ingresses?limit=500", "/apis/networking.k8s.io/v1/namespaces/a/ingresses", "/apis/networking.k8s.io/v1/networkpolicies",
		"/api/v1/secrets", "/api/v1/namespaces/a/secrets/b",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1"+u, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if diff := cmp.Diff(map[string]int{"pods": 1, "tkeserviceconfigs": 1, "ingresses": 1, "secrets": 1}, p.Lists()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
