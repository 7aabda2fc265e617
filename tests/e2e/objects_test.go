package e2e

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/util/retry"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// quick is the TkeServiceConfig of tests: the quickest check there is.
const quick = "quick"

var configResource = schema.GroupVersionResource{Group: "cloud.tencent.com", Version: "v1alpha1", Resource: "tkeserviceconfigs"}

func quickCheck() *desired.HealthCheck {
	return &desired.HealthCheck{Enable: true, IntervalTime: new(2), Timeout: new(2), HealthNum: new(2), UnHealthNum: new(2)}
}

// quickConfig covers every port that tests use.
func quickConfig() desired.ConfigSpec {
	var spec desired.ConfigSpec
	for _, port := range []int{53, 80, 81, 82, 443} {
		for _, protocol := range []string{"TCP", "UDP"} {
			spec.LoadBalancer.L4Listeners = append(spec.LoadBalancer.L4Listeners, desired.L4Listener{Protocol: protocol, Port: port, HealthCheck: quickCheck()})
		}
	}
	return spec
}

// config writes a TkeServiceConfig, new or changed.
func (s *space) config(name string, spec any) {
	s.t.Helper()
	object, err := toMap(map[string]any{
		"apiVersion": "cloud.tencent.com/v1alpha1", "kind": "TkeServiceConfig",
		"metadata": map[string]any{"namespace": s.name, "name": name}, "spec": spec,
	})
	s.must(err)
	configs := s.dynamic.Resource(configResource).Namespace(s.name)
	_, err = configs.Apply(s.t.Context(), name, &unstructured.Unstructured{Object: object}, metav1.ApplyOptions{FieldManager: "e2e", Force: true})
	s.must(err)
}

// service makes a claimed Service with one port, 80 to 80, for pods of app=web.
func (s *space) service(name string, set ...func(*corev1.Service)) *corev1.Service {
	s.t.Helper()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name, Annotations: map[string]string{
			desired.DirectAccess: "true", desired.ServiceConfig: quick,
		}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{tcp(80, intstr.FromInt32(80))},
		},
	}
	for _, f := range set {
		f(svc)
	}
	out, err := s.client.CoreV1().Services(s.name).Create(s.t.Context(), svc, metav1.CreateOptions{})
	s.must(err)
	return out
}

func tcp(port int32, target intstr.IntOrString) corev1.ServicePort {
	return corev1.ServicePort{Name: fmt.Sprintf("tcp-%d", port), Protocol: corev1.ProtocolTCP, Port: port, TargetPort: target}
}

func udp(port int32, target intstr.IntOrString) corev1.ServicePort {
	return corev1.ServicePort{Name: fmt.Sprintf("udp-%d", port), Protocol: corev1.ProtocolUDP, Port: port, TargetPort: target}
}

func ports(ports ...corev1.ServicePort) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Ports = ports }
}

func selects(app string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": app} }
}

// with sets annotations of a Service, key and value by turns.
func with(pairs ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for i := 0; i < len(pairs); i += 2 {
			s.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

// pod makes a running pod of app=web on an ENI, with a gate, that serves at 80.
func (s *space) pod(name string, set ...func(*corev1.Pod)) *corev1.Pod {
	s.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name, Labels: map[string]string{"app": "web"}, Annotations: map[string]string{
			node.AnnotationNetworks: "tke-route-eni",
		}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(1)),
			ReadinessGates:                []corev1.PodReadinessGate{{ConditionType: model.GateType}},
			Containers: []corev1.Container{{
				Name: "nginx", Image: "nginx",
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{node.ResourceENIIP: resource.MustParse("1")},
					Limits:   corev1.ResourceList{node.ResourceENIIP: resource.MustParse("1")},
				},
			}},
		},
	}
	for _, f := range set {
		f(pod)
	}
	out, err := s.client.CoreV1().Pods(s.name).Create(s.t.Context(), pod, metav1.CreateOptions{})
	s.must(err)
	return out
}

// pods makes several.
func (s *space) pods(names ...string) {
	s.t.Helper()
	for _, n := range names {
		s.pod(n)
	}
}

func ungated(p *corev1.Pod) { p.Spec.ReadinessGates = nil }

// global makes a pod that has no ENI.
func global(p *corev1.Pod) {
	p.Annotations = nil
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
}

func labelled(app string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels["app"] = app }
}

// marked sets annotations of a pod, key and value by turns.
func marked(pairs ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		if p.Annotations == nil {
			p.Annotations = map[string]string{}
		}
		for i := 0; i < len(pairs); i += 2 {
			p.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

// behave steers the application in a pod.
func behave(pairs ...string) func(*corev1.Pod) {
	for i := 0; i < len(pairs); i += 2 {
		pairs[i] = node.AnnotationPrefix + pairs[i]
	}
	return marked(pairs...)
}

// serving adds a declared port to a pod.
func serving(name string, port int32, protocol corev1.Protocol) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: name, ContainerPort: port, Protocol: protocol})
	}
}

func (s *space) getService(name string) *corev1.Service {
	s.t.Helper()
	svc, err := s.client.CoreV1().Services(s.name).Get(s.t.Context(), name, metav1.GetOptions{})
	s.must(err)
	return svc
}

func (s *space) getPod(name string) *corev1.Pod {
	s.t.Helper()
	pod, err := s.client.CoreV1().Pods(s.name).Get(s.t.Context(), name, metav1.GetOptions{})
	s.must(err)
	return pod
}

// change changes a Service as a user would.
func (s *space) change(name string, f func(*corev1.Service)) {
	s.t.Helper()
	s.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		svc := s.getService(name)
		f(svc)
		_, err := s.client.CoreV1().Services(s.name).Update(s.t.Context(), svc, metav1.UpdateOptions{})
		return err
	}))
}

// annotate sets an annotation of a pod, nil removes it.
func (s *space) annotate(pod, key string, value any) {
	s.t.Helper()
	raw, err := toJSON(map[string]any{"metadata": map[string]any{"annotations": map[string]any{key: value}}})
	s.must(err)
	_, err = s.client.CoreV1().Pods(s.name).Patch(s.t.Context(), pod, types.MergePatchType, raw, metav1.PatchOptions{})
	s.must(err)
}

func (s *space) deleteService(name string) {
	s.t.Helper()
	s.must(s.client.CoreV1().Services(s.name).Delete(s.t.Context(), name, metav1.DeleteOptions{}))
}

func (s *space) deletePod(name string) {
	s.t.Helper()
	s.must(s.client.CoreV1().Pods(s.name).Delete(s.t.Context(), name, metav1.DeleteOptions{}))
}

func (s *space) awaitServiceGone(name string) {
	s.t.Helper()
	s.await("Service "+name+" is gone", func() (bool, string) {
		svc, err := s.client.CoreV1().Services(s.name).Get(s.t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, ""
		}
		s.must(err)
		return false, fmt.Sprintf("finalizers %v", svc.Finalizers)
	})
}

func (s *space) awaitPodGone(name string) {
	s.t.Helper()
	s.await("pod "+name+" is gone", func() (bool, string) {
		_, err := s.client.CoreV1().Pods(s.name).Get(s.t.Context(), name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

// awaitBalancer waits until a Service has a CLB with an address in its status.
func (s *space) awaitBalancer(name string) clb.LoadBalancer {
	s.t.Helper()
	var lb clb.LoadBalancer
	s.await("Service "+name+" has an address", func() (bool, string) {
		svc := s.getService(name)
		var ok bool
		lb, ok = s.balancer(balancerOf(svc))
		return ok && len(svc.Status.LoadBalancer.Ingress) > 0, fmt.Sprintf("annotations %v, status %v", svc.Annotations, svc.Status.LoadBalancer)
	})
	return lb
}

// gate is a pod's gate condition, nil without one.
func gate(p *corev1.Pod) *corev1.PodCondition { return condition(p, model.GateType) }

func condition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i, c := range p.Status.Conditions {
		if c.Type == kind {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func is(p *corev1.Pod, kind corev1.PodConditionType) bool {
	c := condition(p, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}

// show writes a pod for people.
func show(p *corev1.Pod) string {
	out := fmt.Sprintf("%s %s %s", p.Name, p.Status.Phase, p.Status.PodIP)
	for _, c := range p.Status.Conditions {
		if c.Type == model.GateType || c.Type == corev1.PodReady || c.Type == corev1.ContainersReady {
			out += fmt.Sprintf(" %s=%s(%s: %s)", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return out
}

// awaitReady waits until pods are Ready and their gates are open as TKE opens them.
func (s *space) awaitReady(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.await("pod "+name+" is Ready", func() (bool, string) {
			pod := s.getPod(name)
			g := gate(pod)
			return is(pod, corev1.PodReady) && g != nil && g.Reason == readiness.ReasonReady, show(pod)
		})
	}
}

func (s *space) awaitIP(name string) *corev1.Pod {
	s.t.Helper()
	var pod *corev1.Pod
	s.await("pod "+name+" has an address", func() (bool, string) {
		pod = s.getPod(name)
		return pod.Status.PodIP != "", show(pod)
	})
	return pod
}

// awaitTargets waits until the targets of a listener or rule are "ip:port=weight", in
// any order.
func (s *space) awaitTargets(id, listener string, want ...string) {
	s.t.Helper()
	slices.Sort(want)
	s.await(fmt.Sprintf("%s of %s has targets %v", listener, id, want), func() (bool, string) {
		targets := s.targets(id)[listener]
		var got []string
		for _, t := range targets {
			got = append(got, fmt.Sprintf("%s:%d=%d", t.IP, t.Port, t.Weight))
		}
		slices.Sort(got)
		return slices.Equal(got, want), describe(targets)
	})
}

// awaitListeners waits until a CLB has exactly the listeners "protocol/port".
func (s *space) awaitListeners(id string, want ...string) {
	s.t.Helper()
	slices.Sort(want)
	s.await(fmt.Sprintf("%s has listeners %v", id, want), func() (bool, string) {
		var got []string
		lb, _ := s.balancer(id)
		for _, l := range lb.Listeners {
			got = append(got, fmt.Sprintf("%s/%d", l.Protocol, l.Port))
		}
		slices.Sort(got)
		return slices.Equal(got, want), strings.Join(got, " ")
	})
}

// target is how awaitTargets writes a pod's target.
func target(p *corev1.Pod, port, weight int) string {
	return fmt.Sprintf("%s:%d=%d", p.Status.PodIP, port, weight)
}

// events are those about an object with a reason.
func (s *space) events(kind, name, reason string) []corev1.Event {
	s.t.Helper()
	list, err := s.client.CoreV1().Events(s.name).List(s.t.Context(), metav1.ListOptions{})
	s.must(err)
	return slices.DeleteFunc(list.Items, func(e corev1.Event) bool {
		return e.InvolvedObject.Kind != kind || e.InvolvedObject.Name != name || reason != "" && e.Reason != reason
	})
}

// awaitEvent waits for an Event about an object with a reason and words in its text.
func (s *space) awaitEvent(kind, name, reason string, words ...string) {
	s.t.Helper()
	s.await(fmt.Sprintf("%s %s has an Event %s with %q", kind, name, reason, words), func() (bool, string) {
		var seen []string
		for _, e := range s.events(kind, name, "") {
			seen = append(seen, e.Reason+": "+e.Message)
			ok := e.Reason == reason
			for _, w := range words {
				ok = ok && strings.Contains(e.Message, w)
			}
			if ok {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%q", seen)
	})
}
