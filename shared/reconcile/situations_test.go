package reconcile

import (
	"bytes"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	emulator "github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// situation is one thing that can be the matter.
type situation struct {
	reason string
	// causes are the words that name it, and nothing else.
	causes []string
	// ask is what is asked about, the Service web unless it says otherwise.
	ask model.Ref
	// answers: somebody answers at the pod's address.
	answers  bool
	emulator func(*emulator.Options)
	prepare  func(*setting)
}

const (
	stranger   = "cccccccc-0000-4000-8000-000000000009"
	otherUID   = "bbbbbbbb-0000-4000-8000-000000000002"
	ingressUID = "dddddddd-0000-4000-8000-000000000001"
)

var (
	thePod     = model.Ref{Kind: model.KindPod, Namespace: "default", Name: "web-1"}
	theIngress = model.Ref{Kind: model.KindIngress, Namespace: "default", Name: "shop"}
)

var situations = map[string]situation{
	"HealthCheckFails": {reason: "nobody answers at the pod's address", causes: []string{"the CLB's health check of 10.0.0.1:80 fails"},
		prepare: func(s *setting) { s.bind(s.listener(webUID), podUID, 10, model.Dead) }},
	"ReadyOnceDeadNow": {reason: "the gate stays open, so nothing shows that the pod gets no traffic", causes: []string{"it stays ready once it was", "the CLB's health check of 10.0.0.1:80 fails"},
		prepare: func(s *setting) {
			s.pod.Status.Conditions[1].Status = corev1.ConditionTrue
			s.bind(s.listener(webUID), podUID, 10, model.Dead)
		}},
	"ProbeFails": {reason: "the containers come before the load balancer", causes: []string{"its containers are not ready", "HTTP probe failed with statuscode: 503"}, answers: true,
		prepare: func(s *setting) {
			s.pod.Status.Conditions[0].Status = corev1.ConditionFalse
			s.warn(kube.Component, "InvalidWeight", "something else")
			s.warn("kubelet", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
			s.bind(s.listener(webUID), podUID, 0, model.Alive)
		}},
	"NoGate": {reason: "older than the claim", causes: []string{"it has no readiness gate, so it is Ready without"}, answers: true,
		prepare: func(s *setting) {
			s.pod.Spec.ReadinessGates, s.pod.Status.Conditions = nil, s.pod.Status.Conditions[:1]
			s.bind(s.listener(webUID), podUID, 10, model.Alive)
		}},
	"QuotaUsedUp": {reason: "the listener takes one target and has another", causes: []string{"the CLB refuses to bind 10.0.0.1:80: ", "the quota of targets per listener or rule is 1"},
		emulator: func(o *emulator.Options) {
			q := emulator.DefaultQuotas()
			q.Targets = 1
			o.Quotas = &q
		},
		prepare: func(s *setting) {
			l := s.listener(webUID)
			if err := s.session.Bind(s.t.Context(), s.lb, s.targets(l, 0, 1, 10)); err != nil {
				s.t.Fatal(err)
			}
			err := s.session.Bind(s.t.Context(), s.lb, []model.Target{{Place: model.Place{Listener: l}, Address: s.address, Weight: 10, Tag: podUID}})
			if err == nil {
				s.t.Fatal("the quota lets it in")
			}
			s.warn(kube.Component, reasonBindFailed, fmt.Sprintf("%s on %s: %v", bindFailed(s.address, "Service default/web port TCP/8080"), s.lb, err))
		}},
	"PortConflict": {reason: "an older Service has the port", causes: []string{"E4016: TCP/8080 of lb-of-web has Service default/other"},
		prepare: func(s *setting) {
			other := s.serviceOf("other", otherUID)
			other.Spec.Selector = map[string]string{"app": "other"}
			s.objects.services = append(s.objects.services, other)
			s.listener(otherUID)
			s.refused("TCP/8080", "E4016")
		}},
	"PortOfAStranger": {reason: "somebody made a listener by hand", causes: []string{"E4016: TCP/80 of lb-of-web has somebody else (listener lbl-of-it a)"},
		prepare: func(s *setting) {
			s.service.Spec.Ports[0].Port = 80
			s.refused("TCP/80", "E4016")
		}},
	"NoSuchLoadBalancer": {reason: "the annotation names one that isn't there", causes: []string{"E4011: there is no load balancer lb-nowhere in this region"},
		prepare: func(s *setting) {
			s.service.Annotations[desired.ExistingLB], s.service.Annotations[desired.LoadBalancerID] = "lb-nowhere", ""
			s.refused(desired.RefusedAll, "E4011")
		}},
	"NamedPortMissing": {reason: "no container has the port of the name", causes: []string{`no container declares a TCP port named "http"`},
		prepare: func(s *setting) {
			s.service.Spec.Ports[0].TargetPort = intstr.FromString("http")
			s.listener(webUID)
		}},
	"HostNetwork": {reason: "it has its node's address", causes: []string{"it uses the host's network"},
		prepare: func(s *setting) {
			s.pod.Spec.HostNetwork = true
			s.listener(webUID)
		}},
	"NoENI": {reason: "the network gives ENIs to who asks", causes: []string{"it has no ENI"},
		prepare: func(s *setting) {
			s.policy.Network = desired.GlobalRouter
			s.listener(webUID)
		}},
	"NotAnnotated": {reason: "direct access is off", causes: []string{"it is not annotated " + desired.DirectAccess},
		prepare: func(s *setting) { delete(s.service.Annotations, desired.DirectAccess) }},
	"UnreadableAnnotation": {reason: "it is neither yes nor no", causes: []string{`E4037: ` + desired.DirectAccess + `: is "yes", must be`},
		prepare: func(s *setting) { s.service.Annotations[desired.DirectAccess] = "yes" }},
	"MatchesNothing": {reason: "the selector has a typing error", causes: []string{"no pod matches the selector app=wbe of Service default/web"},
		prepare: func(s *setting) {
			s.service.Spec.Selector["app"] = "wbe"
			s.listener(webUID)
		}},
	"SelectedByNothing": {reason: "the pod's side of it", causes: []string{"nothing of ours selects it"}, ask: thePod,
		prepare: func(s *setting) { s.pod.Labels["app"] = "wbe" }},
	"BeingCreated": {reason: "there is a load balancer, not yet ready", causes: []string{"its load balancer lb-of-web is still being created"}, ask: thePod,
		prepare: func(s *setting) {
			delete(s.service.Annotations, desired.ExistingLB)
			s.reword = func(action string, body []byte) []byte {
				if action != "DescribeLoadBalancers" {
					return body
				}
				return bytes.Replace(body, []byte(`"Status":1`), []byte(`"Status":0`), 1)
			}
		}},
	"NotDrained": {reason: "all is well until it ends", causes: []string{"its one pod is ready\n"}, answers: true,
		prepare: func(s *setting) {
			s.pod.Status.Conditions[1].Status = corev1.ConditionTrue
			s.pod.Spec.Containers = append(s.pod.Spec.Containers, corev1.Container{Name: "own", Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}}}})
			s.bind(s.listener(webUID), podUID, 10, model.Alive)
		}},
	"NotTakenUp": {reason: "nobody has told the function frontend", causes: []string{"the function frontend has not taken it up yet"},
		prepare: func(s *setting) {
			s.service.Finalizers = nil
			delete(s.service.Annotations, desired.ExistingLB)
			delete(s.service.Annotations, desired.LoadBalancerID)
		}},
	"NoListenerYet": {reason: "there is a load balancer, and no listener", causes: []string{"the load balancer has no such listener or rule yet"},
		prepare: func(*setting) {}},
	"StrangersTarget": {reason: "the address was another pod's, which the CLB still calls Alive", causes: []string{"10.0.0.1:80 is still bound for another pod (tag " + stranger + ")"}, answers: true,
		prepare: func(s *setting) { s.bind(s.listener(webUID), stranger, 10, model.Alive) }},
	"DeadStrangersTarget": {reason: "that it is Dead is about the other pod", causes: []string{"10.0.0.1:80 is still bound for another pod (tag " + stranger + ")"},
		prepare: func(s *setting) { s.bind(s.listener(webUID), stranger, 10, model.Dead) }},
	"WarmingUp": {reason: "Alive is about whoever was there before", causes: []string{"the CLB calls 10.0.0.1:80 Alive, but has not checked it for long enough"}, answers: true,
		prepare: func(s *setting) {
			s.bind(s.listener(webUID), podUID, 10, model.Alive)
			s.date(time.Now())
		}},
	"FirstCheck": {reason: "the CLB has not made up its mind", causes: []string{"the CLB has not finished its first health check of 10.0.0.1:80"}, answers: true,
		emulator: func(o *emulator.Options) { o.Second = time.Minute },
		prepare:  func(s *setting) { s.bind(s.listener(webUID), podUID, 10, model.Unknown) }},
	"WeightTooLow": {reason: "bound while it warmed up, and not raised since", causes: []string{"the CLB gives 10.0.0.1:80 weight 0, not yet 10"}, answers: true,
		prepare: func(s *setting) { s.bind(s.listener(webUID), podUID, 0, model.Alive) }},
	"NotCalled": {reason: "all is well, and nobody wrote it", causes: []string{"everything is met, and the condition is not written yet"}, answers: true,
		prepare: func(s *setting) { s.bind(s.listener(webUID), podUID, 10, model.Alive) }},
	"ListenerStopped": {reason: "it checks nothing though it should", causes: []string{"the listener is stopped"}, answers: true,
		prepare: func(s *setting) {
			s.bind(s.listener(webUID), podUID, 10, model.Alive)
			s.reword = func(action string, body []byte) []byte {
				if action != "DescribeTargetHealth" {
					return body
				}
				return bytes.ReplaceAll(body, []byte(`"Alive"`), []byte(`"Close"`))
			}
		}},
	"CertificateMissing": {reason: "the Ingress names a secret that isn't there", causes: []string{"E4009: spec.tls[0].secretName: secret default/tls is not there"}, ask: theIngress,
		prepare: func(s *setting) {
			i := s.ingress("/")
			i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{"a.example.com"}, SecretName: "tls"}}
			i.Annotations[desired.Refused] = `{"HTTPS/443 a.example.com/":"E4009"}`
		}},
	"BadPath": {reason: "no CLB takes such a path", causes: []string{`E4031: spec.rules[0].http.paths[0].path: is "/a b"`}, ask: theIngress,
		prepare: func(s *setting) { s.ingress("/a b") }},
	"ServiceMissing": {reason: "the Ingress names a Service that isn't there", causes: []string{"W1000: spec.rules[0].http.paths[0].backend.service.name: Service default/web is not there"}, ask: theIngress,
		prepare: func(s *setting) {
			s.ingress("/")
			s.objects.services = nil
		}},
	"AllIsWell": {reason: "nothing is the matter", causes: []string{"its one pod is ready\n"}, answers: true,
		prepare: func(s *setting) {
			s.pod.Status.Conditions[1].Status = corev1.ConditionTrue
			s.bind(s.listener(webUID), podUID, 10, model.Alive)
		}},
}

// ingress has an Ingress before the Service, which is a plain one then.
func (s *setting) ingress(path string) *networkingv1.Ingress {
	s.service.Spec.Type = corev1.ServiceTypeClusterIP
	i := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop", UID: ingressUID, Finalizers: []string{desired.IngressFinalizer}, CreationTimestamp: s.ago(time.Hour),
			Annotations: map[string]string{desired.IngressDirectAccess: "true", desired.IngressExistingLB: s.lb, desired.IngressLoadBalancerID: s.lb}},
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "a.example.com", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Path: path, PathType: new(networkingv1.PathTypeImplementationSpecific),
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 8080}}}}},
		}}}}},
	}
	s.objects.ingresses = append(s.objects.ingresses, i)
	return i
}
