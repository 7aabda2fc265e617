package kube

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// wire notes what goes over the connection.
type wire struct {
	mu       sync.Mutex
	requests []string
	// plain are requests or answers of the built-in groups that aren't protobuf.
	plain []string
}

func (w *wire) config(base *rest.Config) *rest.Config {
	cfg := rest.CopyConfig(base)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) {
			res, err := next.RoundTrip(r)
			w.mu.Lock()
			defer w.mu.Unlock()
			what := r.Method + " " + r.URL.Path
			w.requests = append(w.requests, what)
			typed := strings.Contains(r.URL.Path, "/v1/namespaces/")
			if typed && r.Method != http.MethodPatch && r.Body != nil && r.Header.Get("Content-Type") != protobuf {
				w.plain = append(w.plain, what+" sends "+r.Header.Get("Content-Type"))
			}
			if err == nil && typed && res.Header.Get("Content-Type") != protobuf {
				w.plain = append(w.plain, what+" gets "+res.Header.Get("Content-Type"))
			}
			return res, err
		})
	})
	return cfg
}

// TestPods lists more pods than a page has, by label and by address.
func TestPods(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	const n = listPage + 20
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		labels := map[string]string{"app": "web"}
		if i%100 == 0 {
			labels["app"] = "db"
		}
		g.Go(func() error {
			_, err := s.CoreV1().Pods(s.namespace).Create(ctx, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i), Labels: labels},
				Spec:       corev1.PodSpec{SchedulerName: "nobody", Containers: []corev1.Container{{Name: "web", Image: "nginx"}}},
			}, metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	addressed := s.pod("addressed", map[string]string{"app": "db"}, corev1.PodStatus{PodIP: "10.9.8.7", Phase: "Running"})
	newest := s.read(addressed).ResourceVersion

	var w wire
	client := newClient(t, w.config(controlPlane.RESTConfig()))
	cases := map[string]struct {
		reason string
		query  PodQuery
		want   int
		pages  int
	}{
		"All":      {reason: "page after page", query: PodQuery{Namespace: s.namespace}, want: n + 1, pages: 2},
		"AtLeast":  {reason: "at least as new as", query: PodQuery{Namespace: s.namespace, ResourceVersion: newest}, want: n + 1},
		"Label":    {reason: "the selector goes with every page", query: PodQuery{Namespace: s.namespace, Labels: map[string][]string{"app": {"web"}}}, want: n - 6, pages: 2},
		"Few":      {reason: "one page", query: PodQuery{Namespace: s.namespace, Labels: map[string][]string{"app": {"db"}}}, want: 7, pages: 1},
		"Either":   {reason: "any of the values", query: PodQuery{Namespace: s.namespace, Labels: map[string][]string{"app": {"db", "web"}}}, want: n + 1, pages: 2},
		"Keep":     {reason: "what is not to be kept is read all the same", query: PodQuery{Namespace: s.namespace, Keep: func(p *model.Pod) bool { return p.Labels["app"] == "db" }}, want: 7, pages: 2},
		"IP":       {reason: "by address", query: PodQuery{Namespace: s.namespace, IP: "10.9.8.7"}, want: 1, pages: 1},
		"IPAnyone": {reason: "in all namespaces", query: PodQuery{IP: "10.9.8.7"}, want: 1, pages: 1},
		"None":     {reason: "nobody has it", query: PodQuery{IP: "10.9.8.6"}, pages: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w.requests = nil
			pods, err := client.Pods(ctx, tc.query)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, p := range pods {
				seen[p.UID] = true
			}
			if len(pods) != tc.want || len(seen) != tc.want {
				t.Errorf("%s: want %d, got %d, %d of them different", tc.reason, tc.want, len(pods), len(seen))
			}
			if tc.pages != 0 && len(w.requests) != tc.pages {
				t.Errorf("%s: want %d pages, got %d", tc.reason, tc.pages, len(w.requests))
			}
		})
	}
	if len(w.plain) > 0 {
		t.Errorf("protobuf is spoken on the wire, but %v", w.plain)
	}
	if client.BytesRead() < n*100 {
		t.Errorf("what was read is counted, got %d bytes", client.BytesRead())
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	s.service("balancer")
	s.service("plain", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeClusterIP })
	s.service("held", func(svc *corev1.Service) {
		svc.Spec.Type = corev1.ServiceTypeClusterIP
		svc.Finalizers = []string{desired.Finalizer}
	})
	var w wire
	client := newClient(t, w.config(controlPlane.RESTConfig()))
	list, err := client.Services(ctx, s.namespace, "", func(svc *model.Service) bool { return svc.Type == "LoadBalancer" || desired.Held(&svc.Front) })
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, svc := range list {
		names = append(names, svc.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"balancer", "held"}, names); diff != "" {
		t.Errorf("those of type LoadBalancer and those that may still hold something: -want +got:\n%s", diff)
	}
	if all, err := client.Services(ctx, s.namespace, Cached, nil); err != nil || len(all) != 3 {
		t.Errorf("all of them: want 3, got %d, %v", len(all), err)
	}
	svc, err := client.Service(ctx, model.Ref{Namespace: s.namespace, Name: "balancer"})
	if err != nil || svc.Name != "balancer" || svc.UID == "" || len(svc.Ports) != 1 {
		t.Errorf("got %+v, %v", svc, err)
	}
	if err := client.PatchFront(ctx, &svc.Front, map[string]any{"c": "3"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Service(ctx, model.Ref{Namespace: s.namespace, Name: "none"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("want NotFound, got %v", err)
	}
	if _, err := client.Pod(ctx, model.Ref{Namespace: s.namespace, Name: "none"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("want NotFound, got %v", err)
	}
	if len(w.plain) > 0 {
		t.Errorf("protobuf is spoken on the wire, but %v", w.plain)
	}
}
