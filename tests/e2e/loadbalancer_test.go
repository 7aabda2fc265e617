package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/desired"
)

// "CLB: created, public."
func TestPublicLoadBalancerIsCreated(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	svc := s.service("web")
	lb := s.awaitBalancer("web")
	if lb.Type != "OPEN" || !netip.MustParsePrefix("127.200.0.0/16").Contains(lb.VIP) {
		t.Errorf("want a public load balancer, got %s at %s", lb.Type, lb.VIP)
	}
	want := map[string]string{desired.TagCluster: stack.ClusterID, desired.TagOwner: string(svc.UID)}
	for k, v := range want {
		if lb.Tags[k] != v {
			t.Errorf("want the tags %v that say whose it is, got %v", want, lb.Tags)
		}
	}
	s.settled()
}

// "CLB: created, internal with service.kubernetes.io/qcloud-loadbalancer-internal-subnetid."
func TestInternalLoadBalancerIsCreated(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", with(desired.InternalSubnet, stack.Subnet))
	s.pods("a")
	s.awaitReady("a")
	lb := s.awaitBalancer("web")
	if lb.Type != "INTERNAL" || !netip.MustParsePrefix("127.201.0.0/16").Contains(lb.VIP) {
		t.Errorf("want an internal load balancer, got %s at %s", lb.Type, lb.VIP)
	}
}

// attempts notes which invocations are about a namespace, so that what the CLB sees
// can be told from other tests'.
type attempts struct {
	mu  sync.Mutex
	ids map[string]string // request id to function
}

func (s *space) attempts() *attempts {
	a := &attempts{ids: map[string]string{}}
	s.onInvoke(s.t, func(inv scf.Invocation) {
		if strings.Contains(string(inv.Payload), s.name) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.ids[inv.RequestID] = inv.Key
		}
	})
	return a
}

// of gives the request id of a call if one of ours made it.
func (a *attempts) of(call clb.Call) (requestID string, ours bool) {
	_, id, _ := strings.Cut(call.Principal, "/")
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ours = a.ids[id]
	return id, ours
}

// owned lists the load balancers made for an object.
func (e *env) owned(o metav1.Object) []string {
	var ids []string
	for _, lb := range e.CLB.LoadBalancers() {
		if lb.Tags[desired.TagOwner] == string(o.GetUID()) {
			ids = append(ids, lb.ID)
		}
	}
	return ids
}

// "Once, whatever dies in between (client token kept on the Service, found again by
// tags)": the function is killed, or its answer lost, between CreateLoadBalancer and
// the annotation.
func TestLoadBalancerIsCreatedOnceWhateverDies(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		times  int
		fault  func(s *space, requestID string) *clb.Fault
	}{
		"KilledBefore": {"the process is gone and nothing came of it, twice", 2, func(s *space, id string) *clb.Fault {
			s.SCF.Kill(id)
			return &clb.Fault{Error: &tc3.Error{Code: "InternalError", Message: "try again"}}
		}},
		"Killed": {"the process is gone before the answer comes", 1, func(s *space, id string) *clb.Fault {
			s.SCF.Kill(id)
			return &clb.Fault{}
		}},
		"KilledLate": {"the process is gone when the answer comes, long after", 1, func(s *space, id string) *clb.Fault {
			time.AfterFunc(50*time.Millisecond, func() { s.SCF.Kill(id) })
			return &clb.Fault{After: 500 * time.Millisecond}
		}},
		"AnswerLost": {"the connection breaks instead of an answer", 1, func(*space, string) *clb.Fault { return &clb.Fault{Drop: true} }},
		"Refused": {"the account refuses for a moment", 1, func(*space, string) *clb.Fault {
			return &clb.Fault{Error: &tc3.Error{Code: "InternalError", Message: "try again"}}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			ours := s.attempts()
			var mu sync.Mutex
			faults := 0
			remove := s.CLB.Intercept(func(_ context.Context, call clb.Call) *clb.Fault {
				if call.Action != "CreateLoadBalancer" {
					return nil
				}
				id, ok := ours.of(call)
				mu.Lock()
				defer mu.Unlock()
				if !ok || faults == tc.times {
					return nil
				}
				faults++
				return tc.fault(s, id)
			})
			t.Cleanup(remove)
			svc := s.service("web")
			lb := s.awaitBalancer("web")
			if got := s.owned(svc); !slices.Equal(got, []string{lb.ID}) {
				t.Errorf("%s: want one load balancer, %s, got %v", tc.reason, lb.ID, got)
			}
			mu.Lock()
			defer mu.Unlock()
			if faults != tc.times {
				t.Errorf("want %d faults met, got %d", tc.times, faults)
			}
			s.settled()
		})
	}
}

// "loadbalance-id is output only": lost or changed by a user, it is found again by the
// tags, and nobody else's CLB is touched.
func TestLoadBalancerIDIsOutputOnly(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	other := s.existing()
	s.service("web")
	lb := s.awaitBalancer("web")
	for _, value := range []string{"", other} {
		since := time.Now()
		s.change("web", func(o *corev1.Service) {
			o.Annotations[desired.LoadBalancerID] = value
			if value == "" {
				delete(o.Annotations, desired.LoadBalancerID)
			}
		})
		s.await("the id is back", func() (bool, string) {
			id := balancerOf(s.getService("web"))
			return id == lb.ID, id
		})
		if calls := s.writes(other, since); len(calls) > 0 {
			t.Errorf("want nothing written to somebody else's load balancer, got %v", byAction(calls))
		}
	}
}

// "Or an existing one (service.kubernetes.io/tke-existed-lbid)."
func TestExistingLoadBalancerIsUsed(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	svc := s.service("web", with(desired.ExistingLB, id))
	s.pods("a")
	s.awaitReady("a")
	if got := balancerOf(s.getService("web")); got != id || len(s.owned(svc)) > 0 {
		t.Errorf("want %s used and none created, got %q and %v", id, got, s.owned(svc))
	}
	s.awaitTargets(id, "TCP/80", target(s.getPod("a"), 80, 10))
	s.settled()
}

// An existing load balancer that isn't there is said, and waits.
func TestMissingLoadBalancerIsAnEvent(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	svc := s.service("web", with(desired.ExistingLB, "lb-nowhere0"))
	s.awaitEvent("Service", "web", "LoadBalancerRefused", "E4011", "lb-nowhere0", desired.ExistingLB)
	if made := s.owned(svc); len(made) > 0 {
		t.Errorf("want none created instead, got %v", made)
	}
}

// "Several Services on one included."
func TestServicesShareALoadBalancer(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	s.service("one", with(desired.ExistingLB, id), selects("one"))
	s.service("two", with(desired.ExistingLB, id), selects("two"), ports(tcp(81, intstr.FromInt32(80)), udp(80, intstr.FromInt32(53))))
	s.pod("a", labelled("one"))
	s.pod("b", labelled("two"), serving("dns", 53, corev1.ProtocolUDP))
	s.awaitReady("a", "b")
	a, b := s.getPod("a"), s.getPod("b")
	s.awaitTargets(id, "TCP/80", target(a, 80, 10))
	s.awaitTargets(id, "TCP/81", target(b, 80, 10))
	s.awaitTargets(id, "UDP/80", target(b, 53, 10))
	s.settled()
	s.deleteService("one")
	s.awaitServiceGone("one")
	s.awaitListeners(id, "TCP/81", "UDP/80")
	s.awaitTargets(id, "TCP/81", target(b, 80, 10))
}

// later waits for the next second: creation times have no finer grain.
func (s *space) later(than metav1.Object) {
	s.t.Helper()
	s.await("a second has passed", func() (bool, string) { return time.Since(than.GetCreationTimestamp().Time) > 1100*time.Millisecond, "" })
}

// "Port or rule conflict: oldest creationTimestamp keeps it; the loser gets TKE's code
// and doesn't hold gates."
func TestOldestServiceKeepsThePort(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	older := s.service("older", with(desired.ExistingLB, id), ports(tcp(81, intstr.FromInt32(80))))
	s.later(older)
	s.service("younger", with(desired.ExistingLB, id))
	s.awaitListeners(id, "TCP/80", "TCP/81")
	s.change("older", ports(tcp(80, intstr.FromInt32(80))))
	s.awaitEvent("Service", "younger", "PortConflict", "E4016", "port 80", id)
	s.await("the older Service has the port", func() (bool, string) {
		lb, _ := s.balancer(id)
		return len(lb.Listeners) == 1 && strings.Contains(lb.Listeners[0].Name, string(older.UID)), fmt.Sprintf("%+v", lb.Listeners)
	})
	s.pods("a")
	s.awaitReady("a")
	s.settled()
	s.deleteService("older")
	s.awaitServiceGone("older")
	s.awaitListeners(id, "TCP/80")
	s.await("nothing is refused any more", func() (bool, string) {
		v, there := s.getService("younger").Annotations[desired.Refused]
		return !there, v
	})
	s.awaitTargets(id, "TCP/80", target(s.getPod("a"), 80, 10))
}

// "Other people's listeners ... never touched": a foreign one keeps its port.
func TestForeignListenerKeepsItsPort(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	s.listener(id, "theirs", "TCP", 80)
	s.service("web", with(desired.ExistingLB, id), ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(80))))
	s.awaitEvent("Service", "web", "PortConflict", "E4016", "port 80", `"theirs"`)
	s.pods("a")
	s.awaitReady("a")
	s.awaitTargets(id, "TCP/80")
	s.awaitTargets(id, "TCP/81", target(s.getPod("a"), 80, 10))
	s.settled()
}

// "A CLB tagged for another controller is never written without an explicit takeover
// annotation."
func TestForeignLoadBalancerIsRefusedUntilTakenOver(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing("tke-createdBy-flag", "yes")
	since := time.Now()
	s.service("web", with(desired.ExistingLB, id))
	s.pods("a")
	s.awaitEvent("Service", "web", "LoadBalancerRefused", "E4012", "tke-createdBy-flag", desired.Takeover)
	for _, data := range s.syncs() {
		s.pass("frontend", data)
	}
	if calls := s.writes(id, since); len(calls) > 0 {
		t.Errorf("want nothing written, got %v", byAction(calls))
	}
	s.change("web", with(desired.Takeover, "true"))
	s.awaitReady("a")
	s.awaitTargets(id, "TCP/80", target(s.getPod("a"), 80, 10))
	s.settled()
}

// A CLB that was made for one Service is refused to another: it goes with its owner.
func TestLoadBalancerOfAnotherServiceIsRefused(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("one")
	lb := s.awaitBalancer("one")
	s.service("two", with(desired.ExistingLB, lb.ID), ports(tcp(81, intstr.FromInt32(80))))
	s.awaitEvent("Service", "two", "LoadBalancerRefused", "E4012", lb.ID)
	s.awaitListeners(lb.ID, "TCP/80")
}

// A Service that names another existing CLB moves: nothing stays at the old one.
func TestServiceMovesToAnotherLoadBalancer(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	svc := s.service("web")
	s.pods("a")
	s.awaitReady("a")
	own := s.awaitBalancer("web")
	id := s.existing()
	s.change("web", with(desired.ExistingLB, id))
	s.awaitTargets(id, "TCP/80", target(s.getPod("a"), 80, 10))
	s.await("the CLB that was created is gone", func() (bool, string) {
		_, there := s.balancer(own.ID)
		return !there && len(s.owned(svc)) == 0, fmt.Sprint(s.owned(svc))
	})
	lb, _ := s.balancer(id)
	s.await("the status follows", func() (bool, string) {
		in := s.getService("web").Status.LoadBalancer.Ingress
		return len(in) == 1 && in[0].IP == lb.VIP.String(), fmt.Sprint(in)
	})
	s.settled()
}

// "Status, service.kubernetes.io/loadbalance-id, Events, a finalizer."
func TestServiceStatusAnnotationEventAndFinalizer(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	svc := s.getService("web")
	if in := svc.Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != lb.VIP.String() {
		t.Errorf("want the status to have %s, got %v", lb.VIP, in)
	}
	if got := svc.Annotations["service.kubernetes.io/loadbalance-id"]; got != lb.ID {
		t.Errorf("want the annotation %s, got %q", lb.ID, got)
	}
	if !slices.Contains(svc.Finalizers, desired.Finalizer) {
		t.Errorf("want the finalizer %s, got %v", desired.Finalizer, svc.Finalizers)
	}
	s.awaitEvent("Service", "web", "EnsureServiceSuccess", lb.ID, lb.VIP.String())
}

// "Listeners per Service port: several ports, TCP and UDP."
func TestSeveralPortsOverTCPAndUDP(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", ports(tcp(80, intstr.FromInt32(80)), tcp(53, intstr.FromInt32(53)), udp(53, intstr.FromInt32(53)), tcp(81, intstr.FromInt32(80))))
	since := time.Now()
	s.pod("a", serving("dns", 53, corev1.ProtocolUDP), serving("dns-tcp", 53, corev1.ProtocolTCP))
	s.awaitReady("a")
	lb, a := s.awaitBalancer("web"), s.getPod("a")
	s.awaitListeners(lb.ID, "TCP/80", "TCP/53", "UDP/53", "TCP/81")
	for _, l := range []string{"TCP/80", "TCP/81"} {
		s.awaitTargets(lb.ID, l, target(a, 80, 10))
	}
	for _, l := range []string{"TCP/53", "UDP/53"} {
		s.awaitTargets(lb.ID, l, target(a, 53, 10))
	}
	if n := byAction(s.writes(lb.ID, since))["BatchRegisterTargets"]; n > 2 {
		t.Errorf("one pod at four listeners is bound by one call, two at most if the listeners came late; got %d", n)
	}
	s.settled()
}

// "Named target ports": each pod is bound at the port that has the name in it.
func TestNamedTargetPorts(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", ports(tcp(80, intstr.FromString("web")), udp(80, intstr.FromString("dns"))))
	s.pod("a", serving("web", 8080, corev1.ProtocolTCP), serving("dns", 8081, corev1.ProtocolUDP))
	s.pod("b", serving("web", 9090, corev1.ProtocolTCP), serving("dns", 9091, corev1.ProtocolUDP))
	s.awaitReady("a", "b")
	lb, a, b := s.awaitBalancer("web"), s.getPod("a"), s.getPod("b")
	s.awaitTargets(lb.ID, "TCP/80", target(a, 8080, 10), target(b, 9090, 10))
	s.awaitTargets(lb.ID, "UDP/80", target(a, 8081, 10), target(b, 9091, 10))
	s.settled()
}

// "Changed and removed ports."
func TestChangedAndRemovedPorts(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(80))))
	s.pod("a", serving("alt", 8080, corev1.ProtocolTCP))
	s.awaitReady("a")
	lb, a := s.awaitBalancer("web"), s.getPod("a")
	kept := listenerID(lb, "TCP", 80)
	s.change("web", ports(tcp(80, intstr.FromInt32(8080)), tcp(82, intstr.FromInt32(80))))
	s.awaitListeners(lb.ID, "TCP/80", "TCP/82")
	s.awaitTargets(lb.ID, "TCP/80", target(a, 8080, 10))
	s.awaitTargets(lb.ID, "TCP/82", target(a, 80, 10))
	lb, _ = s.balancer(lb.ID)
	if got := listenerID(lb, "TCP", 80); got != kept {
		t.Errorf("a listener whose targets' port changed stays: want %s, got %s", kept, got)
	}
	s.settled()
}

func listenerID(lb clb.LoadBalancer, protocol string, port int) string {
	for _, l := range lb.Listeners {
		if l.Protocol == protocol && l.Port == port {
			return l.ID
		}
	}
	return ""
}

// "An impossible port": one that no listener can be made for is named, the others
// work.
func TestImpossiblePortIsAnEvent(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", func(o *corev1.Service) {
		o.Spec.Ports = append(o.Spec.Ports, corev1.ServicePort{Name: "sctp", Protocol: corev1.ProtocolSCTP, Port: 81, TargetPort: intstr.FromInt32(80)})
	})
	s.pods("a")
	s.awaitEvent("Service", "web", "InvalidPort", "spec.ports[1].protocol", "SCTP")
	s.awaitReady("a")
	lb := s.awaitBalancer("web")
	if got := slices.Collect(maps.Keys(s.targets(lb.ID))); !slices.Equal(got, []string{"TCP/80"}) {
		t.Errorf("want the other port's listener alone, got %v", got)
	}
	s.settled()
}
