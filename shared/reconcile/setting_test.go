package reconcile

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	emulator "github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

const (
	cluster = "cls-test"
	webUID  = "bbbbbbbb-0000-4000-8000-000000000001"
	podUID  = "aaaaaaaa-0000-4000-8000-000000000001"
)

// setting is a cluster and a CLB in which something is the matter: at first a Service
// web, at port 8080 of a CLB, and its pod web-1, which is ready but for its gate.
type setting struct {
	*bench
	objects *objects
	service *corev1.Service
	pod     *corev1.Pod
	policy  desired.Policy
	// address is the pod's own, in the test's process.
	address model.Address
	// now is when the question is asked; the pod's times go by it.
	now time.Time
	// reword changes what the CLB answers, nil for nothing.
	reword func(action string, body []byte) []byte
}

func newSetting(t *testing.T, name string, tc situation) *setting {
	t.Helper()
	b := newBench(t, func(o *emulator.Options) {
		o.Second = 10 * time.Millisecond
		if tc.emulator != nil {
			tc.emulator(o)
		}
	})
	s := &setting{bench: b, objects: &objects{}, policy: desired.Policy{Cluster: cluster, Network: desired.VPCCNI, Claim: desired.ByAnnotation}}
	names := slices.Sorted(maps.Keys(situations))
	s.address = s.reserve(fmt.Sprintf("127.95.1.%d", slices.Index(names, name)+1), tc.answers)
	s.pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1", UID: podUID, Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: model.GateType}}, Containers: []corev1.Container{{Name: "c", Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: model.DrainPath + "default/t/c"}}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: s.address.IP, Conditions: []corev1.PodCondition{
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}, {Type: model.GateType, Status: corev1.ConditionFalse},
		}},
	}
	s.date(time.Now().Add(10 * time.Minute))
	s.service = s.serviceOf("web", webUID)
	s.objects.services, s.objects.pods = []*corev1.Service{s.service}, []*corev1.Pod{s.pod}
	tc.prepare(s)
	return s
}

// serviceOf is a Service of ours at the CLB.
func (s *setting) serviceOf(name string, uid types.UID) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: uid, Finalizers: []string{desired.Finalizer}, CreationTimestamp: s.ago(time.Hour),
			Annotations: map[string]string{desired.DirectAccess: "true", desired.ExistingLB: s.lb, desired.LoadBalancerID: s.lb}},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 8080, TargetPort: intstr.FromInt(s.address.Port)}}},
	}
}

// date has the question asked at a time, and the pod made an hour before.
func (s *setting) date(now time.Time) {
	s.now = now.Truncate(time.Second)
	s.pod.CreationTimestamp, s.pod.Status.StartTime = s.ago(time.Hour), new(s.ago(time.Hour))
	s.pod.Status.Conditions[0].LastTransitionTime, s.pod.Status.Conditions[1].LastTransitionTime = s.ago(30*time.Minute), s.ago(40*time.Minute)
}

func (s *setting) ago(d time.Duration) metav1.Time { return metav1.NewTime(s.now.Add(-d)) }

// reserve gives an address where somebody answers, or nobody does.
func (s *setting) reserve(ip string, answers bool) model.Address {
	s.t.Helper()
	ln, err := net.Listen("tcp", ip+":0")
	if err != nil {
		s.t.Fatal(err)
	}
	out := model.Address{IP: ip, Port: ln.Addr().(*net.TCPAddr).Port}
	if !answers {
		ln.Close()
		return out
	}
	s.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return out
}

// listener makes the listener of a Service, and gives its id.
func (s *setting) listener(uid string) string {
	s.t.Helper()
	ids, err := s.session.CreateListeners(s.t.Context(), s.lb, []model.WantedListener{{Name: desired.ListenerName(cluster, uid, model.TCP, 8080), Protocol: model.TCP, Port: 8080}})
	if err != nil {
		s.t.Fatal(err)
	}
	return ids[0]
}

// bind binds an address at a listener and waits for what the CLB makes of it.
func (s *setting) bind(listener, tag string, weight int, health model.Health) {
	s.t.Helper()
	target := model.Target{Place: model.Place{Listener: listener}, Address: s.address, Weight: weight, Tag: tag}
	if err := s.session.Bind(s.t.Context(), s.lb, []model.Target{target}); err != nil {
		s.t.Fatal(err)
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		found, err := s.session.Health(s.t.Context(), []string{s.lb}, []string{listener})
		if err != nil {
			s.t.Fatal(err)
		}
		if found[target.Key()].Health == health {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("gave up waiting for %s to be %s: %v", s.address, health, found)
		}
	}
}

// warn is an Event on the pod.
func (s *setting) warn(by, reason, message string) {
	s.objects.events = append(s.objects.events, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("web-1.%d", len(s.objects.events))},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "web-1", UID: podUID},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message, Source: corev1.EventSource{Component: by}, LastTimestamp: s.ago(time.Minute),
	})
}

// refused is what the function frontend wrote about the Service.
func (s *setting) refused(key, code string) {
	s.service.Annotations[desired.Refused] = fmt.Sprint(desired.RefusedValue(map[string]string{key: code}))
}

// world is the function's.
func (s *setting) world() *World {
	s.t.Helper()
	inner := &http.Transport{}
	s.t.Cleanup(inner.CloseIdleConnections)
	client, err := clb.New(clb.Options{Region: "ap-test", Endpoint: "http://" + s.server.Endpoint(), Transport: reworded{inner, s.reword},
		Credentials: func() (string, string, string) { return "id", "key", "" }})
	if err != nil {
		s.t.Fatal(err)
	}
	return &World{Kube: s.objects.client(s.t), CLB: client, Policy: s.policy, Now: func() time.Time { return s.now }, Log: slog.New(slog.DiscardHandler)}
}

// reworded lets a test change answers: the emulator knows no stopped listeners, and its
// load balancers are made sooner than one can ask.
type reworded struct {
	http.RoundTripper
	reword func(action string, body []byte) []byte
}

// RoundTrip asks and changes what is answered.
func (r reworded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := r.RoundTripper.RoundTrip(req)
	if err != nil || r.reword == nil {
		return res, err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	body = r.reword(req.Header.Get("X-TC-Action"), body)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res.Header.Del("Content-Length")
	return res, nil
}

var (
	when       = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	listenerID = regexp.MustCompile(`lbl-[a-z0-9]+`)
)

// plain writes for what differs from run to run what it is.
func (s *setting) plain(text string) string {
	text = strings.NewReplacer(
		s.address.String(), "10.0.0.1:80", s.address.IP, "10.0.0.1", s.lb, "lb-of-web",
		s.ago(time.Hour).UTC().Format(time.RFC3339), "an hour ago", s.ago(30*time.Minute).UTC().Format(time.RFC3339), "30 minutes ago",
		s.ago(40*time.Minute).UTC().Format(time.RFC3339), "40 minutes ago",
	).Replace(text)
	return listenerID.ReplaceAllString(when.ReplaceAllString(text, "just now"), "lbl-of-it")
}
