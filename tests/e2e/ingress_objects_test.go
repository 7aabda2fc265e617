package e2e

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
)

// quickRuleCheck is the quickest health check that a rule can have.
func quickRuleCheck() *desired.L7HealthCheck {
	return &desired.L7HealthCheck{HealthCheck: *quickCheck()}
}

// quickRules has every rule of an Ingress checked quickly, at the ports that tests use.
func quickRules(ing *networkingv1.Ingress) desired.ConfigSpec {
	paths := map[string][]string{"": {"/"}}
	add := func(host, path string) {
		if !slices.Contains(paths[host], path) {
			paths[host] = append(paths[host], path)
		}
	}
	for _, rule := range ing.Spec.Rules {
		add(rule.Host, "/") // a default backend's
		for _, p := range rule.HTTP.Paths {
			add(rule.Host, p.Path)
		}
	}
	var domains []desired.L7Domain
	for host := range paths {
		d := desired.L7Domain{Domain: host}
		for _, path := range paths[host] {
			d.Rules = append(d.Rules, desired.L7Rule{URL: path, HealthCheck: quickRuleCheck()})
		}
		domains = append(domains, d)
	}
	var spec desired.ConfigSpec
	for _, l := range []desired.ListenerKey{{Protocol: "HTTP", Port: 80}, {Protocol: "HTTP", Port: 8080}, {Protocol: "HTTPS", Port: 443}, {Protocol: "HTTPS", Port: 8443}} {
		spec.LoadBalancer.L7Listeners = append(spec.LoadBalancer.L7Listeners, desired.L7Listener{Protocol: string(l.Protocol), Port: l.Port, Domains: domains})
	}
	return spec
}

// ingress makes a claimed Ingress of class qcloud whose one rule, for every host and
// path, goes to port 80 of Service web. Unless it names a TkeServiceConfig it gets one of
// its own that has its rules checked quickly.
func (s *space) ingress(name string, set ...func(*networkingv1.Ingress)) *networkingv1.Ingress {
	s.t.Helper()
	ing := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name, Annotations: map[string]string{
			desired.IngressDirectAccess: "true", desired.IngressClassAnnotation: desired.QcloudClass,
		}},
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{to("", "/", "web")}},
	}
	for _, f := range set {
		f(ing)
	}
	if _, named := ing.Annotations[desired.IngressConfig]; !named && ing.Annotations[desired.IngressConfigAuto] == "" {
		s.config(name+"-quick", quickRules(ing))
		ing.Annotations[desired.IngressConfig] = name + "-quick"
	}
	out, err := s.client.NetworkingV1().Ingresses(s.name).Create(s.t.Context(), ing, metav1.CreateOptions{})
	s.must(err)
	return out
}

// to is a rule for a host and a prefix, with port 80 of a Service behind it.
func to(host, path, service string, set ...func(*networkingv1.HTTPIngressPath)) networkingv1.IngressRule {
	p := networkingv1.HTTPIngressPath{Path: path, PathType: new(networkingv1.PathTypePrefix), Backend: at(service, networkingv1.ServiceBackendPort{Number: 80})}
	for _, f := range set {
		f(&p)
	}
	rule := networkingv1.IngressRule{Host: host}
	rule.HTTP = &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{p}}
	return rule
}

func at(service string, port networkingv1.ServiceBackendPort) networkingv1.IngressBackend {
	return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: port}}
}

// exactly has a rule match its path and nothing longer.
func exactly(p *networkingv1.HTTPIngressPath) { p.PathType = new(networkingv1.PathTypeExact) }

// byNumber and byName name the port of a rule's Service.
func byNumber(port int32) func(*networkingv1.HTTPIngressPath) {
	return func(p *networkingv1.HTTPIngressPath) {
		p.Backend.Service.Port = networkingv1.ServiceBackendPort{Number: port}
	}
}

func byName(port string) func(*networkingv1.HTTPIngressPath) {
	return func(p *networkingv1.HTTPIngressPath) {
		p.Backend.Service.Port = networkingv1.ServiceBackendPort{Name: port}
	}
}

// rules are all those of an Ingress.
func rules(rules ...networkingv1.IngressRule) func(*networkingv1.Ingress) {
	return func(i *networkingv1.Ingress) { i.Spec.Rules = rules }
}

// noting sets annotations of an Ingress, key and value by turns.
func noting(pairs ...string) func(*networkingv1.Ingress) {
	return func(i *networkingv1.Ingress) {
		for j := 0; j < len(pairs); j += 2 {
			i.Annotations[pairs[j]] = pairs[j+1]
		}
	}
}

// without removes annotations of an Ingress.
func without(keys ...string) func(*networkingv1.Ingress) {
	return func(i *networkingv1.Ingress) {
		for _, k := range keys {
			delete(i.Annotations, k)
		}
	}
}

// secured has hosts served with the certificate of a secret; no hosts are all others.
func secured(secret string, hosts ...string) func(*networkingv1.Ingress) {
	return func(i *networkingv1.Ingress) {
		i.Spec.TLS = append(i.Spec.TLS, networkingv1.IngressTLS{SecretName: secret, Hosts: hosts})
	}
}

// plain makes a Service that is nothing to a CLB by itself, for pods of the app that has
// its name.
func (s *space) plain(name string, set ...func(*corev1.Service)) *corev1.Service {
	s.t.Helper()
	return s.service(name, append([]func(*corev1.Service){func(o *corev1.Service) {
		o.Annotations, o.Spec.Type = nil, corev1.ServiceTypeClusterIP
		o.Spec.Selector = map[string]string{"app": name}
	}}, set...)...)
}

func (s *space) getIngress(name string) *networkingv1.Ingress {
	s.t.Helper()
	ing, err := s.client.NetworkingV1().Ingresses(s.name).Get(s.t.Context(), name, metav1.GetOptions{})
	s.must(err)
	return ing
}

// reshape changes an Ingress as a user would, and its TkeServiceConfig with it.
func (s *space) reshape(name string, f func(*networkingv1.Ingress)) {
	s.t.Helper()
	s.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		ing := s.getIngress(name)
		f(ing)
		if ing.Annotations[desired.IngressConfig] == name+"-quick" {
			s.config(name+"-quick", quickRules(ing))
		}
		_, err := s.client.NetworkingV1().Ingresses(s.name).Update(s.t.Context(), ing, metav1.UpdateOptions{})
		return err
	}))
}

func (s *space) deleteIngress(name string) {
	s.t.Helper()
	s.must(s.client.NetworkingV1().Ingresses(s.name).Delete(s.t.Context(), name, metav1.DeleteOptions{}))
}

func (s *space) awaitIngressGone(name string) {
	s.t.Helper()
	s.await("Ingress "+name+" is gone", func() (bool, string) {
		ing, err := s.client.NetworkingV1().Ingresses(s.name).Get(s.t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, ""
		}
		s.must(err)
		return false, fmt.Sprintf("finalizers %v", ing.Finalizers)
	})
}

// awaitFront waits until an Ingress has a CLB with an address in its status.
func (s *space) awaitFront(name string) clb.LoadBalancer {
	s.t.Helper()
	var lb clb.LoadBalancer
	s.await("Ingress "+name+" has an address", func() (bool, string) {
		ing := s.getIngress(name)
		var ok bool
		lb, ok = s.balancer(ing.Annotations[desired.IngressLoadBalancerID])
		return ok && len(ing.Status.LoadBalancer.Ingress) > 0, fmt.Sprintf("annotations %v, status %v", ing.Annotations, ing.Status.LoadBalancer)
	})
	return lb
}

// rulesOf are the rules of a CLB by their key.
func (e *env) rulesOf(id string) map[string]clb.Rule {
	out := map[string]clb.Rule{}
	lb, _ := e.balancer(id)
	for _, l := range lb.Listeners {
		for _, r := range l.Rules {
			out[ruleKey(lb, l, r)] = r
		}
	}
	return out
}

// awaitRules waits until a CLB has exactly the rules "protocol/port domain/path".
func (s *space) awaitRules(id string, want ...string) {
	s.t.Helper()
	slices.Sort(want)
	s.await(fmt.Sprintf("%s has rules %q", id, want), func() (bool, string) {
		var got []string
		for key := range s.rulesOf(id) {
			got = append(got, key)
		}
		slices.Sort(got)
		return slices.Equal(got, want), strings.Join(got, "; ")
	})
}

// awaitRedirects waits until rules redirect to others, pair by pair.
func (s *space) awaitRedirects(id string, pairs ...string) {
	s.t.Helper()
	s.await(fmt.Sprintf("%s redirects %q", id, pairs), func() (bool, string) {
		all := s.rulesOf(id)
		ok := true
		var seen []string
		for key, r := range all {
			for other, target := range all {
				if r.RedirectTo == target.ID {
					seen = append(seen, key+" -> "+other)
				}
			}
		}
		for i := 0; i < len(pairs); i += 2 {
			ok = ok && slices.Contains(seen, pairs[i]+" -> "+pairs[i+1])
		}
		return ok && len(seen) == len(pairs)/2, strings.Join(seen, "; ")
	})
}
