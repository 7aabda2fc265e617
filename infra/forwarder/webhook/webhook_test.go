package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/admission"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// review is an AdmissionReview of an object, with the request changed by edits.
func review(version string, object any, edit func(map[string]any)) string {
	request := map[string]any{
		"uid": "u-1", "operation": "CREATE", "namespace": "default", "object": object,
		"kind":     map[string]string{"group": "", "version": "v1", "kind": "Pod"},
		"resource": map[string]string{"group": "", "version": "v1", "resource": "pods"},
	}
	if edit != nil {
		edit(request)
	}
	raw, _ := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/" + version, "kind": "AdmissionReview", "request": request}) // maps and strings
	return string(raw)
}

func podObject(app string, gates ...string) map[string]any {
	spec := map[string]any{}
	if len(gates) > 0 {
		var list []map[string]string
		for _, g := range gates {
			list = append(list, map[string]string{"conditionType": g})
		}
		spec["readinessGates"] = list
	}
	return map[string]any{"metadata": map[string]any{"generateName": "x-", "labels": map[string]string{"app": app}}, "spec": spec}
}

// marked is a pod that the webhook has been over.
func marked(pod map[string]any) map[string]any {
	pod["metadata"].(map[string]any)["annotations"] = map[string]string{model.GateMark: "true"}
	return pod
}

// containing gives a pod a container app with hooks, or none.
func containing(pod map[string]any, lifecycle map[string]any) map[string]any {
	c := map[string]any{"name": "app"}
	if lifecycle != nil {
		c["lifecycle"] = lifecycle
	}
	pod["spec"].(map[string]any)["containers"] = []any{c}
	return pod
}

func TestReviews(t *testing.T) {
	const hook = `{"op":"add","path":"/spec/containers/0/lifecycle","value":{"preStop":{"httpGet":{"scheme":"HTTPS","host":"10.1.2.3","port":443,"path":"/drain/default/t/app"}}}}`
	const token = `{"op":"add","path":"/metadata/annotations/clb-direct.io~1drain-token","value":"t"}`
	const mark = `{"op":"add","path":"/metadata/annotations","value":{"` + model.GateMark + `":"true"}}`
	const first = `[{"op":"add","path":"/spec/readinessGates","value":[{"conditionType":"` + model.GateType + `"}]},` + mark + `]`
	const another = `[{"op":"add","path":"/spec/readinessGates/-","value":{"conditionType":"` + model.GateType + `"}},` + mark + `]`
	fresh := []model.Service{{Front: model.Front{Namespace: "default", Name: "s"}, Selector: map[string]string{"app": "fresh"}}}
	cases := map[string]struct {
		reason   string
		body     string
		fresh    []model.Service
		listErr  error
		drain    bool
		version  string
		patch    string
		decision Decision
		status   int
	}{
		"Selected":       {reason: "the cache knows the Service", body: review("v1", podObject("cached"), nil), patch: first, decision: Gated},
		"SelectedV1beta": {reason: "an older API server", body: review("v1beta1", podObject("cached"), nil), version: "v1beta1", patch: first, decision: Gated},
		"JustMade":       {reason: "the API server knows a Service that the cache doesn't yet", body: review("v1", podObject("fresh"), nil), fresh: fresh, patch: first, decision: Gated},
		"JustMadeHalf":   {reason: "what else couldn't be read doesn't matter to it", body: review("v1", podObject("fresh"), nil), fresh: fresh, listErr: errors.New("half down"), patch: first, decision: Gated},
		"OtherGate":      {reason: "the pod's own gates stay", body: review("v1", podObject("cached", "example.com/other"), nil), patch: another, decision: Gated},
		"Had":            {reason: "a gate from the template is ours to decide", body: review("v1", podObject("cached", model.GateType), nil), patch: "[" + mark + "]", decision: Had},
		"Drained":        {reason: "beside the gate each container gets its hook, and the pod its token", body: review("v1", containing(podObject("cached", model.GateType), nil), nil), drain: true, patch: "[" + mark + "," + hook + "," + token + "]", decision: Had},
		"DrainedOwn":     {reason: "a hook of its own stays", body: review("v1", containing(podObject("cached", model.GateType), map[string]any{"preStop": map[string]any{"sleep": map[string]int{"seconds": 1}}}), nil), drain: true, patch: "[" + mark + "]", decision: Had},
		"Again":          {reason: "a reinvocation changes nothing", body: review("v1", marked(podObject("cached", model.GateType)), nil), decision: Had},
		"Unselected":     {reason: "no Service of ours", body: review("v1", podObject("loose"), nil), fresh: fresh, decision: Unselected},
		"Unknown":        {reason: "when the API server doesn't tell, the pod is let in", body: review("v1", podObject("fresh"), nil), listErr: errors.New("down"), decision: Unknown},
		"CachedAndDown":  {reason: "what the cache knows needs no API server", body: review("v1", podObject("cached"), nil), listErr: errors.New("down"), patch: first, decision: Gated},
		"Update": {reason: "gates can't be added later", decision: Other,
			body: review("v1", podObject("cached"), func(r map[string]any) { r["operation"] = "UPDATE" })},
		"Binding": {reason: "a subresource is no pod", decision: Other,
			body: review("v1", podObject("cached"), func(r map[string]any) { r["subResource"] = "binding" })},
		"OtherResource": {reason: "not a pod", decision: Other,
			body: review("v1", podObject("cached"), func(r map[string]any) {
				r["resource"] = map[string]string{"version": "v1", "resource": "services"}
			})},
		"OddObject":  {reason: "what can't be read is let in", body: review("v1", "text", nil), decision: Malformed},
		"NoRequest":  {reason: "not a review", body: `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, decision: Malformed, status: 400},
		"NotJSON":    {reason: "not a review", body: `hello`, decision: Malformed, status: 400},
		"EmptyBody":  {reason: "not a review", body: ``, decision: Malformed, status: 400},
		"OtherSpace": {reason: "a selector reaches no further than its namespace", body: review("v1", podObject("cached"), func(r map[string]any) { r["namespace"] = "else" }), decision: Unselected},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var decisions []Decision
			h := &Handler{
				Claims: func(ns string, labels map[string]string) bool { return ns == "default" && labels["app"] == "cached" },
				Fresh: func(_ context.Context, ns string) ([]model.Service, error) {
					return tc.fresh, tc.listErr
				},
				Drain: func() (admission.Drain, bool) {
					return admission.Drain{Host: "10.1.2.3", Port: 443, Token: "t"}, tc.drain
				},
				Count: func(d Decision) { decisions = append(decisions, d) },
				Log:   slog.New(slog.DiscardHandler),
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, Path, bytes.NewBufferString(tc.body)))
			if diff := cmp.Diff([]Decision{tc.decision}, decisions); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
			if tc.status != 0 {
				if w.Code != tc.status {
					t.Errorf("%s: status %d, want %d", tc.reason, w.Code, tc.status)
				}
				return
			}
			var got struct {
				APIVersion string `json:"apiVersion"`
				Kind       string `json:"kind"`
				Response   struct {
					UID       string `json:"uid"`
					Allowed   bool   `json:"allowed"`
					Patch     []byte `json:"patch"`
					PatchType string `json:"patchType"`
				} `json:"response"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			version := tc.version
			if version == "" {
				version = "v1"
			}
			if !got.Response.Allowed || got.Response.UID != "u-1" || got.APIVersion != "admission.k8s.io/"+version || got.Kind != "AdmissionReview" {
				t.Errorf("%s: answered %s", tc.reason, w.Body)
			}
			if diff := cmp.Diff(tc.patch, string(got.Response.Patch)); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

func TestClaimed(t *testing.T) {
	plain := func(name string) model.Service {
		return model.Service{Front: model.Front{Kind: model.KindService, Namespace: "default", Name: name}, Type: "ClusterIP"}
	}
	ours := plain("ours")
	ours.Type, ours.Annotations = "LoadBalancer", map[string]string{desired.DirectAccess: "true"}
	ingress := func(class, service string) model.Ingress {
		return model.Ingress{
			Front: model.Front{Kind: model.KindIngress, Namespace: "default", Name: "i", Class: class, Annotations: map[string]string{desired.IngressDirectAccess: "true"}},
			Rules: []model.IngressRule{{Path: "/", Backend: model.IngressBackend{Service: service, PortNumber: 80}}},
		}
	}
	got := claimed(
		[]model.Service{plain("behind"), ours, plain("loose"), plain("behind-another")},
		[]model.Ingress{ingress(desired.QcloudClass, "behind"), ingress("nginx", "behind-another"), ingress("", "nobody")},
		desired.Policy{Claim: desired.ByAnnotation},
	)
	var names []string
	for _, s := range got {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"behind", "ours"}, names); diff != "" {
		t.Errorf("the claimed one and the one behind a claimed Ingress: -want +got\n%s", diff)
	}
}

// TestFreshListBeginsAfterTheQuestion asks while a list is under way: its answer
// may miss what was made before the question, so another list is waited for, and
// everybody who asks meanwhile shares it.
func TestFreshListBeginsAfterTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := newFresh(func(context.Context, string) ([]model.Service, error) {
			n++
			name := fmt.Sprint("list-", n)
			time.Sleep(10 * time.Millisecond)
			return []model.Service{{Front: model.Front{Name: name}}}, nil
		})
		answers := make(chan string, 100)
		ask := func() {
			services, err := f.Services(t.Context(), "default")
			if err != nil {
				t.Error(err)
				return
			}
			answers <- services[0].Name
		}
		go ask()
		synctest.Wait()
		for range 50 {
			go ask()
		}
		time.Sleep(time.Second)
		got := map[string]int{}
		for len(answers) > 0 {
			got[<-answers]++
		}
		if diff := cmp.Diff(map[string]int{"list-1": 1, "list-2": 50}, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.flights) != 0 {
			t.Errorf("%d namespaces remembered", len(f.flights))
		}
	})
}

func TestFreshGivesUpWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFresh(func(ctx context.Context, _ string) ([]model.Service, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := f.Services(ctx, "default"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := f.Services(t.Context(), "default"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the list's own limit", err)
		}
	})
}
