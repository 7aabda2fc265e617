package kube

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

func (s *server) read(ref model.Ref) *model.Pod {
	s.t.Helper()
	p, err := s.Pod(s.t.Context(), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return &p
}

func TestPatchCondition(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	others := []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: "True", LastTransitionTime: moment},
		{Type: corev1.ContainersReady, Status: "True", LastTransitionTime: moment},
	}
	ref := s.pod("web", nil, corev1.PodStatus{Phase: "Running", PodIP: "10.0.0.1", Conditions: others})
	at := moment.Add(time.Hour)

	before := s.read(ref)
	if before.Gate != nil {
		t.Fatalf("nobody wrote the condition, got %+v", before.Gate)
	}
	write := func(p *model.Pod, cond model.Condition, now time.Time) error {
		return s.PatchCondition(ctx, p, cond, false, now)
	}
	if err := write(before, model.Condition{Reason: "A", Message: "a"}, at); err != nil {
		t.Fatal(err)
	}
	first := s.read(ref)
	if diff := cmp.Diff(&model.Condition{Reason: "A", Message: "a", Since: at}, first.Gate, cmpopts.EquateApproxTime(0)); diff != "" {
		t.Fatalf("first: -want +got:\n%s", diff)
	}
	if err := write(first, model.Condition{Reason: "B", Message: "b"}, at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	second := s.read(ref)
	if diff := cmp.Diff(&model.Condition{Reason: "B", Message: "b", Since: at}, second.Gate, cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("another word is no transition: -want +got:\n%s", diff)
	}
	if err := write(second, model.Condition{Status: true, Reason: "C", Message: "c"}, at.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	third := s.read(ref)
	if diff := cmp.Diff(&model.Condition{Status: true, Reason: "C", Message: "c", Since: at.Add(2 * time.Hour)}, third.Gate, cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("another status is one: -want +got:\n%s", diff)
	}
	raw, err := s.CoreV1().Pods(s.namespace).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kept := slices.DeleteFunc(raw.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == model.GateType })
	if len(kept) != len(others) || !third.ContainersReady || !third.ContainersReadySince.Equal(moment.Time) {
		t.Errorf("others' conditions are kept, got %+v", kept)
	}

	if err := write(second, model.Condition{Reason: "late"}, at); !fault.Is(err, fault.Conflict) {
		t.Errorf("the pod has changed since: want a Conflict, got %v", err)
	}
	successor := *third
	successor.UID, successor.ResourceVersion = "aaaaaaaa-0000-4000-8000-000000000001", ""
	if err := write(&successor, model.Condition{Reason: "other"}, at); !fault.Is(err, fault.Conflict) {
		t.Errorf("another pod of that name: want a Conflict, got %v", err)
	}
	successor.ResourceVersion = first.ResourceVersion
	if err := write(&successor, model.Condition{Reason: "other"}, at); !fault.Is(err, fault.Conflict) {
		t.Errorf("another pod of that name, read a while ago: want a Conflict, got %v", err)
	}
	gone := *third
	gone.Name = "gone"
	if err := write(&gone, model.Condition{}, at); !fault.Is(err, fault.NotFound) {
		t.Errorf("a pod that is gone: want NotFound, got %v", err)
	}
	if diff := cmp.Diff(third, s.read(ref)); diff != "" {
		t.Errorf("what was refused changed nothing: -want +got:\n%s", diff)
	}
}

// fronts makes an object of either kind.
func (s *server) fronts(name string) map[string]model.Front {
	return map[string]model.Front{"Service": s.service(name).Front, "Ingress": s.ingress(name).Front}
}

func TestPatchFront(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	for name, front := range s.fronts("web") {
		t.Run(name, func(t *testing.T) {
			const finalizer = "clb-direct.io/test"
			read := front
			f := front
			if err := s.PatchFront(ctx, &f, map[string]any{"a": nil, "c": "3"}, []string{finalizer}); err != nil {
				t.Fatal(err)
			}
			want := read
			want.Annotations, want.Finalizers, want.ResourceVersion = map[string]string{"b": "2", "c": "3"}, []string{finalizer}, f.ResourceVersion
			if diff := cmp.Diff(want, f); diff != "" || f.ResourceVersion == read.ResourceVersion {
				t.Errorf("it is as the server has it, in a new version: -want +got:\n%s", diff)
			}
			stale := read
			if err := s.PatchFront(ctx, &stale, map[string]any{"c": "4"}, nil); !fault.Is(err, fault.Conflict) {
				t.Errorf("it has changed since: want a Conflict, got %v", err)
			}
			if diff := cmp.Diff(read, stale); diff != "" {
				t.Errorf("what was refused is as it was read: -want +got:\n%s", diff)
			}
			other := f
			other.UID, other.ResourceVersion = "aaaaaaaa-0000-4000-8000-000000000001", ""
			if err := s.PatchFront(ctx, &other, map[string]any{"c": "4"}, nil); !fault.Is(err, fault.Conflict) {
				t.Errorf("another object of that name: want a Conflict, got %v", err)
			}
			if err := s.PatchFront(ctx, &f, map[string]any{"c": "4"}, nil); err != nil || len(f.Finalizers) != 1 {
				t.Errorf("nil leaves the finalizers, got %v, %v", f.Finalizers, err)
			}
			if err := s.PatchFront(ctx, &f, nil, []string{}); err != nil || len(f.Finalizers) != 0 {
				t.Errorf("an empty list removes them, got %v, %v", f.Finalizers, err)
			}
			if diff := cmp.Diff(map[string]string{"b": "2", "c": "4"}, f.Annotations); diff != "" {
				t.Errorf("and leaves the annotations: -want +got:\n%s", diff)
			}
		})
	}
}

func TestPatchFrontStatus(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, f := range s.fronts("web") {
		t.Run(name, func(t *testing.T) {
			for _, want := range [][]string{{"1.2.3.4", "2001:db8::1"}, {"lb.example.com"}, nil} {
				stale := f
				if err := s.PatchFrontStatus(t.Context(), &f, want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, f.Addresses); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if err := s.PatchFrontStatus(t.Context(), &stale, []string{"9.9.9.9"}); !fault.Is(err, fault.Conflict) {
					t.Errorf("it has changed since: want a Conflict, got %v", err)
				}
			}
		})
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	_, err := s.CoreV1().Secrets(s.namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cert"}, StringData: map[string]string{"qcloud_cert_id": "abc"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Secret(ctx, model.Ref{Namespace: s.namespace, Name: "cert"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"qcloud_cert_id": []byte("abc")}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := s.Secret(ctx, model.Ref{Namespace: s.namespace, Name: "none"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("want NotFound, got %v", err)
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	now := time.Now()
	if _, err := s.Ingresses(ctx, s.namespace, "", nil); err != nil { // finds the version
		t.Fatal(err)
	}
	long := strings.Repeat("界", 600) // 1,800 bytes, three to a character
	notes := []Note{
		{Kind: "Service", Ref: model.Ref{Namespace: s.namespace, Name: "web"}, UID: "u1", Warning: true, Reason: "Bad", Message: "it is bad"},
		{Kind: "Service", Ref: model.Ref{Namespace: s.namespace, Name: "web"}, UID: "u2", Warning: true, Reason: "Bad", Message: "it is bad"},
		{Kind: "Ingress", Ref: model.Ref{Namespace: s.namespace, Name: "web"}, UID: "u4", Warning: true, Reason: "Bad", Message: "it is bad"},
		{Kind: "Pod", Ref: model.Ref{Namespace: s.namespace, Name: "web"}, UID: "u1", Reason: "Long", Message: long},
		{Kind: "Pod", Ref: model.Ref{Namespace: s.namespace, Name: strings.Repeat("a", 199) + "-" + strings.Repeat("b", 50)}, UID: "u3", Reason: "Bad", Message: "a long name"},
	}
	for _, at := range []time.Time{now, now.Add(repeatEvery - time.Second), now.Add(repeatEvery + time.Second)} {
		for _, n := range notes {
			if err := s.Record(ctx, n, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	events, err := s.CoreV1().Events(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(events.Items) != len(notes) {
		t.Fatalf("one Event for each thing said about each object: want %d, got %d", len(notes), len(events.Items))
	}
	versions := map[string]string{"Service": "v1", "Pod": "v1", "Ingress": "networking.k8s.io/v1"}
	for _, e := range events.Items {
		if about := e.InvolvedObject; about.APIVersion != versions[about.Kind] {
			t.Errorf("%s: is about %s of %s, want %s", e.Name, about.Kind, about.APIVersion, versions[about.Kind])
		}
		if e.Count != 2 {
			t.Errorf("%s: said at once and after five minutes, want count 2, got %d", e.Name, e.Count)
		}
		if len(e.Message) > maxNote || !utf8.ValidString(e.Message) {
			t.Errorf("%s: a message of %d bytes, valid %t", e.Name, len(e.Message), utf8.ValidString(e.Message))
		}
		if e.InvolvedObject.UID == "u1" && e.Reason == "Bad" && (e.Type != corev1.EventTypeWarning || e.InvolvedObject.Kind != "Service" || e.Source.Component != "clb-direct") {
			t.Errorf("got %+v", e)
		}
	}
}

// TestServiceConfig: the CRD of infra is what the client reads and writes.
func TestServiceConfig(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	ref := model.Ref{Namespace: s.namespace, Name: "web-auto-service-config"}
	if _, err := s.ServiceConfig(ctx, ref); !fault.Is(err, fault.NotFound) {
		t.Errorf("where the server doesn't know the kind: want NotFound, got %v", err)
	}
	s.installCRD("../../infra/crd/tkeserviceconfigs.yaml")
	s.await("the kind to be served", func() bool {
		_, err := s.raw.Get().Namespace(s.namespace).Resource("tkeserviceconfigs").DoRaw(ctx)
		return err == nil
	})
	if _, err := s.ServiceConfig(ctx, ref); !fault.Is(err, fault.NotFound) {
		t.Errorf("one that isn't there: want NotFound, got %v", err)
	}

	front := s.ingress("web").Front
	spec := everySetting()
	for range 2 { // created, then written again
		if err := s.ApplyServiceConfig(ctx, &front, ref.Name, spec); err != nil {
			t.Fatal(err)
		}
		got, err := s.ServiceConfig(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(spec, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		spec.LoadBalancer.L4Listeners[0].Scheduler = "LEAST_CONN"
	}
	svc := s.service("web").Front
	if err := s.ApplyServiceConfig(ctx, &svc, "web-of-service", spec); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]metav1.OwnerReference{
		ref.Name:         {APIVersion: "networking.k8s.io/v1", Kind: "Ingress", Name: "web", UID: uid(front.UID)},
		"web-of-service": {APIVersion: "v1", Kind: "Service", Name: "web", UID: uid(svc.UID)},
	} {
		raw, err := s.raw.Get().Namespace(ref.Namespace).Resource("tkeserviceconfigs").Name(name).DoRaw(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var object configObject
		if err := json.Unmarshal(raw, &object); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]metav1.OwnerReference{want}, object.Metadata.OwnerReferences); diff != "" {
			t.Errorf("it goes with what it was made for: -want +got:\n%s", diff)
		}
	}
}

// everySetting is a TkeServiceConfig with all that one can say, so that a field that
// the server doesn't know shows.
func everySetting() desired.ConfigSpec {
	common := desired.HealthCheck{Enable: true, IntervalTime: new(10), HealthNum: new(2), UnHealthNum: new(4), Timeout: new(3)}
	session := &desired.Session{Enable: true, SessionExpireTime: new(100)}
	var spec desired.ConfigSpec
	spec.LoadBalancer.L4Listeners = []desired.L4Listener{{Protocol: "TCP", Port: 80, Session: session, HealthCheck: &common, Scheduler: "WRR"}}
	spec.LoadBalancer.L7Listeners = []desired.L7Listener{{
		Protocol: "HTTPS", Port: 443, DefaultServer: "a.example.com", KeepaliveEnable: new(1),
		Domains: []desired.L7Domain{{Domain: "a.example.com", HTTP2: new(true), Rules: []desired.L7Rule{{
			URL: "/", ForwardType: "HTTP", Session: session, Scheduler: "IP_HASH",
			HealthCheck: &desired.L7HealthCheck{
				HealthCheck: common, HTTPCode: new(31), HTTPCheckPath: "/healthz", HTTPCheckDomain: "a.example.com", HTTPCheckMethod: "HEAD",
				SourceIPType: new(1), CheckType: "HTTP",
			},
		}}}},
	}}
	return spec
}

func (s *server) installCRD(path string) {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := yaml.YAMLToJSON(text)
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.Discovery().RESTClient().Post().AbsPath("/apis/apiextensions.k8s.io/v1/customresourcedefinitions").
		SetHeader("Content-Type", "application/json").Body(body).Do(s.t.Context()).Error()
	if err != nil && !isAlreadyExists(err) {
		s.t.Fatal(fmt.Errorf("installing %s: %w", path, err))
	}
}
