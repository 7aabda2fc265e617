package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestWarningFrom: Events come in an older and a newer style.
func TestWarningFrom(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		reason string
		event  corev1.Event
		want   Warning
	}{
		"Old":    {"who and when are in the older fields", corev1.Event{Reason: "R", Message: "m", Source: corev1.EventSource{Component: "kubelet"}, LastTimestamp: metav1.NewTime(at)}, Warning{"R", "m", "kubelet", at}},
		"New":    {"or in the newer ones", corev1.Event{ReportingController: "kubelet", EventTime: metav1.NewMicroTime(at)}, Warning{By: "kubelet", Last: at}},
		"Series": {"what goes on was last said later", corev1.Event{EventTime: metav1.NewMicroTime(at), Series: &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(at.Add(time.Hour))}}, Warning{Last: at.Add(time.Hour)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, warningFrom(&tc.event)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestWarnings: only those about the object, newest first.
func TestWarnings(t *testing.T) {
	s := newServer(t)
	at := time.Now()
	for i, n := range []Note{
		{UID: "u1", Warning: true, Reason: "Old", Message: "a"}, {UID: "u1", Warning: true, Reason: "New", Message: "b"},
		{UID: "u1", Reason: "Normal", Message: "c"}, {UID: "u2", Warning: true, Reason: "Others", Message: "d"},
	} {
		n.Kind, n.Ref.Namespace, n.Ref.Name = "Pod", s.namespace, "web"
		if err := s.Record(t.Context(), n, at.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Warnings(t.Context(), s.namespace, "u1")
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, w := range got {
		reasons = append(reasons, w.By+" "+w.Reason)
	}
	if diff := cmp.Diff([]string{Component + " New", Component + " Old"}, reasons); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
