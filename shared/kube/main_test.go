package kube

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/shared/model"
)

// controlPlane is a real one, shared by the tests of this package; each has a
// namespace of its own.
var controlPlane *cluster.Cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		return m.Run()
	}
	c, err := cluster.Start(context.Background(), cluster.Options{Progress: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := c.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	controlPlane = c
	return m.Run()
}

// server is the real API server, in a namespace of the test's own.
type server struct {
	kubernetes.Interface
	*Client
	t         *testing.T
	namespace string
}

func newServer(t *testing.T) *server {
	t.Helper()
	if controlPlane == nil {
		t.Skip("needs the control plane, which -short leaves out")
	}
	admin, err := kubernetes.NewForConfig(controlPlane.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	ns, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kube-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Interface: admin, Client: newClient(t, controlPlane.RESTConfig()), t: t, namespace: ns.Name}
	s.await("the namespace's service account", func() bool {
		_, err := admin.CoreV1().ServiceAccounts(ns.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	return s
}

func newClient(t *testing.T, config *rest.Config) *Client {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// await asks until done, for at most twenty seconds.
func (s *server) await(what string, done func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// pod makes a pod that nothing schedules, with a status of its own.
func (s *server) pod(name string, labels map[string]string, status corev1.PodStatus) model.Ref {
	s.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			SchedulerName:  "nobody",
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: model.GateType}},
			Containers:     []corev1.Container{{Name: "web", Image: "nginx"}},
		},
	}
	pods := s.CoreV1().Pods(s.namespace)
	made, err := pods.Create(s.t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(status.Conditions) > 0 || status.PodIP != "" {
		made.Status = status
		if _, err := pods.UpdateStatus(s.t.Context(), made, metav1.UpdateOptions{}); err != nil {
			s.t.Fatal(err)
		}
	}
	return model.Ref{Namespace: s.namespace, Name: name}
}

// service makes a Service of type LoadBalancer.
func (s *server) service(name string, set ...func(*corev1.Service)) model.Service {
	s.t.Helper()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"a": "1", "b": "2"}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}, Selector: map[string]string{"app": "web"}},
	}
	for _, f := range set {
		f(svc)
	}
	made, err := s.CoreV1().Services(s.namespace).Create(s.t.Context(), svc, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.unhold(name) })
	return ServiceFrom(made)
}

// unhold takes the finalizers off, so that the namespace can go.
func (s *server) unhold(name string) {
	_, err := s.CoreV1().Services(s.namespace).Patch(context.Background(), name, mergePatch, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if err != nil && !strings.Contains(err.Error(), "not found") {
		s.t.Error(err)
	}
}

// transport is an http.RoundTripper by function.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
