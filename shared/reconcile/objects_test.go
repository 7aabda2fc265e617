package reconcile

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/kube"
)

// objects is an API server that can only be read. It answers in JSON.
type objects struct {
	services  []*corev1.Service
	ingresses []*networkingv1.Ingress
	pods      []*corev1.Pod
	secrets   []*corev1.Secret
	events    []*corev1.Event

	mu sync.Mutex
	// written are requests that would change something: all are refused.
	written []string
}

// client serves o until the test ends.
func (o *objects) client(t *testing.T) *kube.Client {
	t.Helper()
	web := httptest.NewServer(o)
	t.Cleanup(web.Close)
	c, err := kube.New(&rest.Config{Host: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (o *objects) writes() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, answer := o.answer(r)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // a client that went away fails its test
}

func (o *objects) answer(r *http.Request) (int, any) {
	if r.Method != http.MethodGet {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.written = append(o.written, r.Method+" "+r.URL.Path)
		return refuse(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed)
	}
	switch r.URL.Path {
	case "/version":
		return http.StatusOK, map[string]string{"major": "1", "minor": "34"}
	case "/apis/coordination.k8s.io":
		return http.StatusOK, metav1.APIGroup{Versions: []metav1.GroupVersionForDiscovery{{Version: "v1"}}}
	case "/apis/networking.k8s.io/v1":
		return http.StatusOK, metav1.APIResourceList{APIResources: []metav1.APIResource{{Name: "ingresses"}}}
	}
	group, rest, ok := strings.Cut(r.URL.Path, "/v1/")
	if !ok {
		return refuse(http.StatusNotFound, metav1.StatusReasonNotFound)
	}
	namespace := ""
	if in, found := strings.CutPrefix(rest, "namespaces/"); found {
		namespace, rest, _ = strings.Cut(in, "/")
	}
	resource, name, _ := strings.Cut(rest, "/")
	version := map[string]string{"/api": "v1", "/apis/networking.k8s.io": "networking.k8s.io/v1"}[group]
	kind, all := o.all(resource)
	items := []metav1.Object{}
	for _, object := range all {
		switch {
		case namespace != "" && object.GetNamespace() != namespace, !selects(r, object):
		case name == "":
			items = append(items, object)
		case object.GetName() == name:
			return http.StatusOK, typed{metav1.TypeMeta{APIVersion: version, Kind: kind}, object}
		}
	}
	if name != "" || kind == "" {
		return refuse(http.StatusNotFound, metav1.StatusReasonNotFound)
	}
	return http.StatusOK, map[string]any{"apiVersion": version, "kind": kind + "List", "metadata": metav1.ListMeta{}, "items": items}
}

// typed is an object with its kind, which the decoder needs to see.
type typed struct {
	meta metav1.TypeMeta
	metav1.Object
}

// MarshalJSON puts the kind beside the object's own fields.
func (t typed) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal(t.Object)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	fields["apiVersion"], fields["kind"] = t.meta.APIVersion, t.meta.Kind
	return json.Marshal(fields)
}

func (o *objects) all(resource string) (kind string, all []metav1.Object) {
	switch resource {
	case "services":
		return "Service", several(o.services)
	case "ingresses":
		return "Ingress", several(o.ingresses)
	case "pods":
		return "Pod", several(o.pods)
	case "secrets":
		return "Secret", several(o.secrets)
	case "events":
		return "Event", several(o.events)
	}
	return "", nil
}

func several[T metav1.Object](in []T) []metav1.Object {
	var out []metav1.Object
	for _, o := range in {
		out = append(out, o)
	}
	return out
}

// selects tells whether an object is among those that a list asks for.
func selects(r *http.Request, o metav1.Object) bool {
	q := r.URL.Query()
	byLabel, err := labels.Parse(q.Get("labelSelector"))
	if err != nil || !byLabel.Matches(labels.Set(o.GetLabels())) {
		return false
	}
	of := fields.Set{}
	if e, ok := o.(*corev1.Event); ok {
		of["involvedObject.uid"], of["type"] = string(e.InvolvedObject.UID), e.Type
	}
	byField, err := fields.ParseSelector(q.Get("fieldSelector"))
	return err == nil && byField.Matches(of)
}

func refuse(status int, reason metav1.StatusReason) (int, any) {
	return status, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(status)}
}
