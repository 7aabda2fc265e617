package reconcile

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// apiServer answers reads of Services and pods in JSON and remembers their paths.
type apiServer struct {
	services []corev1.Service
	pod      *corev1.Pod

	mu    sync.Mutex
	asked []string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/default/"))
	a.mu.Unlock()
	_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/default/"), "/")
	var answer any = corev1.ServiceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceList"}, Items: a.services}
	if at := slices.IndexFunc(a.services, func(s corev1.Service) bool { return s.Name == name }); at >= 0 {
		answer = a.services[at]
	} else if a.pod != nil && a.pod.Name == name {
		answer = a.pod
	} else if name != "" {
		w.WriteHeader(http.StatusNotFound)
		answer = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a client that went away fails its test
}

// TestNamedPodAmongManyServices: of many Services only those are read that select the
// pod, and those that hold a target at its address though they don't.
func TestNamedPodAmongManyServices(t *testing.T) {
	t.Parallel()
	const uid, ip = "aaaaaaaa-0000-4000-8000-000000000001", "127.77.0.2"
	named := event.Pod{Namespace: "default", Name: "pod", UID: uid, IP: ip}
	cases := map[string]struct {
		reason string
		label  string // what the pod is selected by; "" is a pod that is gone
		bound  string // the listener that has a target for it
		asked  []string
		want   map[string][]string
	}{
		"New":       {reason: "bound where it is selected", label: "web-1", asked: []string{"services/web-1"}, want: map[string][]string{"Bind": {"a"}}},
		"Relabeled": {reason: "bound where it is selected now, unbound where it was", label: "web-1", bound: "b", asked: []string{"services/web-1", "services/web-3"}, want: map[string][]string{"Lower": {"b"}, "Bind": {"a"}, "Unbind": {"b"}}},
		"Gone":      {reason: "unbound where it was", bound: "b", asked: []string{"services/web-3"}, want: map[string][]string{"Lower": {"b"}, "Unbind": {"b"}}},
		"Nobody's":  {reason: "nothing selects it, nothing has it", label: "db", want: map[string][]string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			server := &apiServer{}
			for i := range 2 * fewer {
				server.services = append(server.services, corev1.Service{
					TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
					ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("web-%d", i), UID: serviceUID(i),
						Annotations: map[string]string{desired.DirectAccess: "true", desired.ExistingLB: b.lb}},
					Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": fmt.Sprintf("web-%d", i)},
						Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: int32(1000 + i)}}},
				})
				b.req.Sync.Objects = append(b.req.Sync.Objects, event.Ref{Namespace: "default", Name: fmt.Sprintf("web-%d", i)})
			}
			if tc.label != "" {
				server.pod = &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
					ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pod", UID: uid, Labels: map[string]string{"app": tc.label}},
					Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip}}
			}
			web := httptest.NewServer(server)
			defer web.Close()
			client, err := kube.New(&rest.Config{Host: web.URL})
			if err != nil {
				t.Fatal(err)
			}
			b.Kube, b.Policy, b.req.Sync.Pods = client, desired.Policy{Cluster: "cls-test", Network: desired.VPCCNI, Claim: desired.ByAnnotation}, []event.Pod{named}
			listeners := map[string]string{}
			for to, i := range map[string]int{"a": 1, "b": 3} {
				ids, err := b.session.CreateListeners(t.Context(), b.lb, []model.WantedListener{{
					Name: desired.ListenerName("cls-test", string(serviceUID(i)), model.TCP, 1000+i), Protocol: model.TCP, Port: 1000 + i}})
				if err != nil {
					t.Fatal(err)
				}
				listeners[ids[0]] = to
				if to == tc.bound {
					held := model.Target{Place: model.Place{Listener: ids[0]}, Address: model.Address{IP: ip, Port: 1000 + i}, Weight: 10, Tag: uid}
					if err := b.session.Bind(t.Context(), b.lb, []model.Target{held}); err != nil {
						t.Fatal(err)
					}
				}
			}

			s, err := b.pass.scene(t.Context(), b.session, b.lb)
			if err != nil {
				t.Fatal(err)
			}
			input := s.targets()
			got := map[string][]string{}
			for _, step := range input.Plan().Steps {
				for _, target := range step.Targets {
					got[string(step.Kind)] = append(got[string(step.Kind)], listeners[target.Listener])
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			single := slices.DeleteFunc(server.asked, func(path string) bool { return !strings.HasPrefix(path, "services/") })
			slices.Sort(single)
			if diff := cmp.Diff(tc.asked, single, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: Services read: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func serviceUID(i int) types.UID { return types.UID(fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", i)) }
