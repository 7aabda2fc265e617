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

func TestPatchService(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	svc := s.service("web")
	got, err := s.PatchService(ctx, &svc, map[string]any{"a": nil, "c": "3"}, []string{desired.Finalizer})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"b": "2", "c": "3"}, got.Annotations); diff != "" {
		t.Errorf("annotations: -want +got:\n%s", diff)
	}
	if !desired.Held(&got) {
		t.Errorf("the finalizer is on, got %v", got.Finalizers)
	}
	if _, err := s.PatchService(ctx, &svc, map[string]any{"c": "4"}, nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("it has changed since: want a Conflict, got %v", err)
	}
	other := got
	other.UID, other.ResourceVersion = "aaaaaaaa-0000-4000-8000-000000000001", ""
	if _, err := s.PatchService(ctx, &other, map[string]any{"c": "4"}, nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("another Service of that name: want a Conflict, got %v", err)
	}
	kept, err := s.PatchService(ctx, &got, map[string]any{"c": "4"}, nil)
	if err != nil || !desired.Held(&kept) {
		t.Errorf("nil leaves the finalizers, got %v, %v", kept.Finalizers, err)
	}
	bare, err := s.PatchService(ctx, &kept, nil, []string{})
	if err != nil || len(bare.Finalizers) != 0 {
		t.Errorf("an empty list removes them, got %v, %v", bare.Finalizers, err)
	}
	if diff := cmp.Diff(kept.Annotations, bare.Annotations); diff != "" {
		t.Errorf("and leaves the annotations: -want +got:\n%s", diff)
	}
}

func TestPatchServiceStatus(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	svc := s.service("web")
	for _, want := range [][]string{{"1.2.3.4", "2001:db8::1"}, {"lb.example.com"}, nil} {
		got, err := s.PatchServiceStatus(t.Context(), &svc, want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Addresses); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if _, err := s.PatchServiceStatus(t.Context(), &svc, []string{"9.9.9.9"}); want != nil && !fault.Is(err, fault.Conflict) {
			t.Errorf("it has changed since: want a Conflict, got %v", err)
		}
		svc = got
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx := t.Context()
	now := time.Now()
	long := strings.Repeat("界", 600) // 1,800 bytes, three to a character
	notes := []Note{
		{Kind: "Service", Ref: model.Ref{Namespace: s.namespace, Name: "web"}, UID: "u1", Warning: true, Reason: "Bad", Message: "it is bad"},
		{Kind: "Service", Ref: model.Ref{Namespace: s.namespace, Name: "web"}, UID: "u2", Warning: true, Reason: "Bad", Message: "it is bad"},
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
	for _, e := range events.Items {
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

	svc := s.service("web")
	spec := desired.AutoConfig(&svc, desired.ConfigSpec{})
	for range 2 { // created, then written again
		if err := s.ApplyServiceConfig(ctx, &svc, ref.Name, spec); err != nil {
			t.Fatal(err)
		}
		got, err := s.ServiceConfig(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(spec, got); diff != "" || !desired.SameConfig(spec, got) {
			t.Errorf("-want +got:\n%s", diff)
		}
		spec.LoadBalancer.L4Listeners[0].Scheduler = "LEAST_CONN"
	}
	raw, err := s.raw.Get().Namespace(ref.Namespace).Resource("tkeserviceconfigs").Name(ref.Name).DoRaw(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var object configObject
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	if owners := object.Metadata.OwnerReferences; len(owners) != 1 || string(owners[0].UID) != svc.UID {
		t.Errorf("it goes with its Service, got owners %+v", owners)
	}
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
