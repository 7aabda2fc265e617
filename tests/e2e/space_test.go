package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// patience is how long a condition is awaited unless a test says otherwise: far
// longer than it takes, as the machine may be busy.
const patience = 90 * time.Second

// space is a test's namespace.
type space struct {
	*env
	t    *testing.T
	name string
}

var spaces atomic.Int64

// newSpace makes a namespace with the TkeServiceConfig that services of tests use.
func newSpace(t *testing.T) *space {
	t.Helper()
	shared.begun.add(t.Name())
	name := strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, name)
	s := &space{env: shared, t: t, name: fmt.Sprintf("%s-%d", name[:min(len(name), 50)], spaces.Add(1))}
	_, err := s.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}, metav1.CreateOptions{})
	s.must(err)
	t.Cleanup(s.remove)
	s.config(quick, quickConfig())
	return s
}

// remove deletes the namespace; what lies in it goes while other tests run.
func (s *space) remove() {
	if s.t.Failed() {
		s.t.Logf("the end of the log about %s:\n%s", s.name, s.tail(30, s.words()...))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.client.CoreV1().Namespaces().Delete(ctx, s.name, metav1.DeleteOptions{}); err != nil {
		s.t.Error(err)
	}
}

// words are what lines of the log that concern the test contain.
func (s *space) words() []string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	words := []string{s.name}
	fronts, err := s.fronts(ctx)
	if err != nil {
		return words
	}
	for _, f := range fronts {
		if f.balancer != "" {
			words = append(words, f.balancer)
		}
	}
	return words
}

func (s *space) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// await polls until cond holds; state says what was seen instead.
func (s *space) await(why string, cond func() (ok bool, state string)) {
	s.t.Helper()
	awaitFor(s.t, patience, why, cond)
}

func awaitFor(t *testing.T, limit time.Duration, why string, cond func() (ok bool, state string)) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for {
		ok, state := cond()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting %s until %s; last seen: %s", limit, why, state)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("waiting until %s: %v", why, t.Context().Err())
		case <-tick.C:
		}
	}
}

// remains checks that cond holds for a while: what must not happen is looked for as
// long as it would take to happen.
func (s *space) remains(d time.Duration, why string, cond func() (ok bool, state string)) {
	s.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); <-tick.C {
		if ok, state := cond(); !ok {
			s.t.Fatalf("%s should remain so for %s: %s", why, d, state)
		}
	}
}

// front is a Service or Ingress as far as both are the same to a test.
type front struct {
	ref model.Ref
	// balancer is the CLB that it says it uses, "" for none.
	balancer, version string
}

// frontResources are how the API server calls the kinds of fronts.
var frontResources = map[model.Kind]schema.GroupVersionResource{
	model.KindService: {Version: "v1", Resource: "services"},
	model.KindIngress: {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
}

// fronts are those of the namespace.
func (s *space) fronts(ctx context.Context) ([]front, error) {
	var out []front
	for _, kind := range []model.Kind{model.KindService, model.KindIngress} {
		list, err := s.dynamic.Resource(frontResources[kind]).Namespace(s.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			o := &list.Items[i]
			out = append(out, front{
				ref:      model.Ref{Kind: kind, Namespace: s.name, Name: o.GetName()},
				balancer: o.GetAnnotations()[desired.KeysOf(kind).LoadBalancerID], version: o.GetResourceVersion(),
			})
		}
	}
	return out, nil
}

// balancerOf is the CLB that a Service says it uses.
func balancerOf(svc *corev1.Service) string { return svc.Annotations[desired.LoadBalancerID] }

// balancer finds a CLB of the shared emulator by id.
func (e *env) balancer(id string) (clb.LoadBalancer, bool) {
	for _, lb := range e.CLB.LoadBalancers() {
		if lb.ID == id {
			return lb, true
		}
	}
	return clb.LoadBalancer{}, false
}

// targets are those of a CLB, by "protocol/port" of their listener, at layer 7 by
// "protocol/port domain/path" of their rule, without a domain where it is the CLB's own
// address.
func (e *env) targets(id string) map[string][]clb.Target {
	out := map[string][]clb.Target{}
	lb, _ := e.balancer(id)
	for _, l := range lb.Listeners {
		if !model.Protocol(l.Protocol).Layer7() {
			out[fmt.Sprintf("%s/%d", l.Protocol, l.Port)] = l.Targets
		}
		for _, r := range l.Rules {
			out[ruleKey(lb, l, r)] = r.Targets
		}
	}
	return out
}

// ruleKey is how tests name a rule, as Ingresses' annotations do.
func ruleKey(lb clb.LoadBalancer, l clb.Listener, r clb.Rule) string {
	domain := r.Domain
	if domain == lb.VIP.String() {
		domain = ""
	}
	return desired.RuleKey(model.Protocol(l.Protocol), l.Port, domain, r.URL)
}

// describe writes targets for people.
func describe(targets []clb.Target) string {
	var out []string
	for _, t := range targets {
		out = append(out, fmt.Sprintf("%s:%d weight %d %s tag %s", t.IP, t.Port, t.Weight, t.Health, t.Tag))
	}
	return "[" + strings.Join(out, "; ") + "]"
}
