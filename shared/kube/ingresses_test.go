package kube

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// agedServer answers as an API server that has some resources in some versions, and
// one Ingress, "web", in each that has Ingresses.
type agedServer struct {
	resources map[string][]string

	mu    sync.Mutex
	down  bool
	asked []string
}

func (a *agedServer) serve(resources map[string][]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resources = resources
}

func (a *agedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	down, served := a.down, a.resources
	a.mu.Unlock()
	answer := func(code int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			panic(err) // maps of strings
		}
	}
	if down {
		answer(http.StatusServiceUnavailable, map[string]any{"kind": "Status", "status": "Failure", "reason": "ServiceUnavailable", "code": 503})
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/apis/")
	if resources, ok := served[path]; ok {
		var list []map[string]string
		for _, name := range resources {
			list = append(list, map[string]string{"name": name})
		}
		answer(http.StatusOK, map[string]any{"kind": "APIResourceList", "groupVersion": path, "resources": list})
		return
	}
	for version, resources := range served {
		rest, ok := strings.CutPrefix(path, version+"/namespaces/ns/ingresses")
		if !ok || !slices.Contains(resources, "ingresses") {
			continue
		}
		one := map[string]any{"apiVersion": version, "kind": "Ingress", "metadata": map[string]any{"namespace": "ns", "name": "web", "uid": "u", "resourceVersion": "7"}}
		if rest == "" {
			answer(http.StatusOK, map[string]any{"apiVersion": version, "kind": "IngressList", "items": []any{one}})
		} else {
			answer(http.StatusOK, one)
		}
		return
	}
	answer(http.StatusNotFound, map[string]any{"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404})
}

func (a *agedServer) set(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

func (a *agedServer) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.asked
	a.asked = nil
	return out
}

func TestIngressDiscovery(t *testing.T) {
	ref := model.Ref{Kind: model.KindIngress, Namespace: "ns", Name: "web"}
	cases := map[string]struct {
		reason    string
		resources map[string][]string
		want      string // apiVersion, "" for none
		asks      int
	}{
		"Today":      {reason: "one question is enough", resources: map[string][]string{"networking.k8s.io/v1": {"networkpolicies", "ingresses", "ingresses/status"}}, want: "networking.k8s.io/v1", asks: 1},
		"All":        {reason: "the newest of three", resources: map[string][]string{"networking.k8s.io/v1": {"ingresses"}, "networking.k8s.io/v1beta1": {"ingresses"}, "extensions/v1beta1": {"ingresses"}}, want: "networking.k8s.io/v1", asks: 1},
		"Betas":      {reason: "v1 has network policies only", resources: map[string][]string{"networking.k8s.io/v1": {"networkpolicies"}, "networking.k8s.io/v1beta1": {"ingresses"}, "extensions/v1beta1": {"ingresses"}}, want: "networking.k8s.io/v1beta1", asks: 2},
		"Extensions": {reason: "from before the group", resources: map[string][]string{"networking.k8s.io/v1": {"networkpolicies"}, "extensions/v1beta1": {"deployments", "ingresses"}}, want: "extensions/v1beta1", asks: 3},
		"None":       {reason: "there are no Ingresses", resources: map[string][]string{"networking.k8s.io/v1": {"networkpolicies"}}, asks: 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &agedServer{resources: tc.resources}
			srv := httptest.NewServer(server)
			defer srv.Close()
			c := newClient(t, &rest.Config{Host: srv.URL})
			ctx := t.Context()
			server.set(true)
			if _, err := c.Ingresses(ctx, "ns", "", nil); !fault.Is(err, fault.Transient) {
				t.Errorf("%s: while it is down, want Transient, got %v", tc.reason, err)
			}
			server.set(false)
			server.requests()

			list, err := c.Ingresses(ctx, "ns", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			asks := slices.DeleteFunc(server.requests(), func(r string) bool { return strings.Contains(r, "namespaces") })
			if len(asks) != tc.asks {
				t.Errorf("%s: want %d questions, got %v", tc.reason, tc.asks, asks)
			}
			front := model.Front{Kind: model.KindIngress, Namespace: "ns", Name: "web", UID: "u"}
			one, oneErr := c.Ingress(ctx, ref)
			writeErr := c.PatchFront(ctx, &front, map[string]any{"a": "b"}, nil)
			asks = server.requests()
			if tc.want == "" {
				if len(list) != 0 || !fault.Is(oneErr, fault.NotFound) || !fault.Is(writeErr, fault.NotFound) || len(asks) != 0 {
					t.Errorf("%s: none is there, none is found and nobody is asked, got %v, %v, %v, %v", tc.reason, list, oneErr, writeErr, asks)
				}
				return
			}
			if len(list) != 1 || list[0].Name != "web" || oneErr != nil || one.Name != "web" || writeErr != nil || front.ResourceVersion != "7" {
				t.Errorf("%s: got %v, %v, %v, %v", tc.reason, list, oneErr, writeErr, front)
			}
			at := "/apis/" + tc.want + "/namespaces/ns/ingresses/web"
			if diff := cmp.Diff([]string{"GET " + at, "PATCH " + at}, asks); diff != "" {
				t.Errorf("%s: found once, used ever after: -want +got:\n%s", tc.reason, diff)
			}
			if got := c.apiVersion("Ingress"); got != tc.want {
				t.Errorf("%s: what refers to an Ingress names %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

// TestIngressesMove: an upgrade takes a version away, and a process that outlives it
// finds the other.
func TestIngressesMove(t *testing.T) {
	server := &agedServer{resources: map[string][]string{"extensions/v1beta1": {"ingresses"}}}
	srv := httptest.NewServer(server)
	defer srv.Close()
	c := newClient(t, &rest.Config{Host: srv.URL})
	if list, err := c.Ingresses(t.Context(), "ns", "", nil); err != nil || len(list) != 1 {
		t.Fatalf("want one, got %v, %v", list, err)
	}
	server.serve(map[string][]string{"networking.k8s.io/v1": {"ingresses"}})
	if _, err := c.Ingresses(t.Context(), "ns", "", nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("where it was: want NotFound, got %v", err)
	}
	if list, err := c.Ingresses(t.Context(), "ns", "", nil); err != nil || len(list) != 1 {
		t.Errorf("where it is: want one, got %v, %v", list, err)
	}
}

// ingress makes an Ingress of one rule.
func (s *server) ingress(name string) model.Ingress {
	s.t.Helper()
	prefix := networkingv1.PathTypePrefix
	made, err := s.NetworkingV1().Ingresses(s.namespace).Create(s.t.Context(), &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"a": "1", "b": "2"}},
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "a.example.com", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &prefix, Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}}}},
		}}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	ing, err := IngressFrom(made)
	if err != nil {
		s.t.Fatal(err)
	}
	return ing
}

// TestIngresses: what is written can be read, and travels as protobuf.
func TestIngresses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	want := s.ingress("web")
	s.ingress("other")
	var w wire
	client := newClient(t, w.config(controlPlane.RESTConfig()))
	got, err := client.Ingress(ctx, want.Ref())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	list, err := client.Ingresses(ctx, s.namespace, want.ResourceVersion, func(i *model.Ingress) bool { return i.Name == "web" })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]model.Ingress{want}, list); diff != "" {
		t.Errorf("only what is kept: -want +got:\n%s", diff)
	}
	if all, err := client.Ingresses(ctx, s.namespace, "", nil); err != nil || len(all) != 2 {
		t.Errorf("want two, got %d, %v", len(all), err)
	}
	if err := client.PatchFront(ctx, &got.Front, nil, []string{desired.IngressFinalizer}); err != nil {
		t.Fatal(err)
	}
	if err := client.PatchFront(ctx, &got.Front, nil, []string{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Ingress(ctx, model.Ref{Namespace: s.namespace, Name: "none"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("want NotFound, got %v", err)
	}
	if len(w.plain) > 0 {
		t.Errorf("protobuf is spoken on the wire, but %v", w.plain)
	}
}
