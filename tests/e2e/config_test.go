package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// settings are what a TkeServiceConfig can set, as the CLB API shows them.
type settings struct {
	Check                                     bool
	Interval, Timeout, HealthNum, UnhealthNum int64
	Session                                   int64
	Scheduler                                 string
}

// settings asks the CLB API for a listener's.
func (s *space) settings(id, protocol string, port int64) settings {
	s.t.Helper()
	q := api.NewDescribeListenersRequest()
	q.LoadBalancerId, q.Protocol, q.Port = &id, &protocol, &port
	res, err := s.cloud().DescribeListeners(q)
	s.must(err)
	if len(res.Response.Listeners) != 1 {
		return settings{}
	}
	l := res.Response.Listeners[0]
	hc := l.HealthCheck
	return settings{*hc.HealthSwitch == 1, *hc.IntervalTime, *hc.TimeOut, *hc.HealthNum, *hc.UnHealthNum, *l.SessionExpireTime, *l.Scheduler}
}

func (s *space) awaitSettings(id, protocol string, port int64, want settings) {
	s.t.Helper()
	s.await(fmt.Sprintf("listener %s/%d has %+v", protocol, port, want), func() (bool, string) {
		got := s.settings(id, protocol, port)
		return got == want, fmt.Sprintf("%+v", got)
	})
}

// documented are CLB's own defaults.
var documented = settings{Check: true, Interval: 5, Timeout: 2, HealthNum: 3, UnhealthNum: 3, Scheduler: "WRR"}

func l4(listeners ...desired.L4Listener) desired.ConfigSpec {
	var spec desired.ConfigSpec
	spec.LoadBalancer.L4Listeners = listeners
	return spec
}

// "Health check, session persistence, scheduler per layer-4 listener, by
// service.cloud.tencent.com/tke-service-config."
func TestServiceConfigIsAppliedAtCreation(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.config("mine", l4(
		desired.L4Listener{Protocol: "TCP", Port: 80, Scheduler: "LEAST_CONN",
			HealthCheck: &desired.HealthCheck{Enable: true, IntervalTime: new(7), Timeout: new(3), HealthNum: new(2), UnHealthNum: new(4)}},
		desired.L4Listener{Protocol: "UDP", Port: 80, Session: &desired.Session{Enable: true, SessionExpireTime: new(60)}},
	))
	s.service("web", with(desired.ServiceConfig, "mine"), ports(tcp(80, intstr.FromInt32(80)), udp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(80))))
	lb := s.awaitBalancer("web")
	s.awaitSettings(lb.ID, "TCP", 80, settings{true, 7, 3, 2, 4, 0, "LEAST_CONN"})
	s.awaitSettings(lb.ID, "UDP", 80, settings{true, 5, 2, 3, 3, 60, "WRR"})
	s.awaitSettings(lb.ID, "TCP", 81, documented)
	s.settled()
}

// "Without one, CLB's documented defaults."
func TestWithoutServiceConfigDefaultsHold(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", func(o *corev1.Service) { delete(o.Annotations, desired.ServiceConfig) })
	lb := s.awaitBalancer("web")
	s.awaitSettings(lb.ID, "TCP", 80, documented)
	s.settled()
}

// "Its changes applied to every Service that names it."
func TestChangedServiceConfigIsFollowed(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.config("mine", l4(desired.L4Listener{Protocol: "TCP", Port: 80, HealthCheck: quickCheck()}))
	s.service("one", with(desired.ServiceConfig, "mine"))
	s.service("two", with(desired.ServiceConfig, "mine"))
	s.service("other")
	one, two, other := s.awaitBalancer("one"), s.awaitBalancer("two"), s.awaitBalancer("other")
	before := settings{true, 2, 2, 2, 2, 0, "WRR"}
	s.awaitSettings(one.ID, "TCP", 80, before)
	s.config("mine", l4(desired.L4Listener{Protocol: "TCP", Port: 80, Session: &desired.Session{Enable: true, SessionExpireTime: new(90)},
		HealthCheck: &desired.HealthCheck{Enable: true, IntervalTime: new(10), Timeout: new(4), HealthNum: new(5), UnHealthNum: new(6)}}))
	after := settings{true, 10, 4, 5, 6, 90, "WRR"}
	s.awaitSettings(one.ID, "TCP", 80, after)
	s.awaitSettings(two.ID, "TCP", 80, after)
	s.awaitSettings(other.ID, "TCP", 80, before)
	s.settled()
	// Taken away, it leaves the CLB as it is (TKE, "TkeServiceConfig").
	s.change("one", func(o *corev1.Service) { delete(o.Annotations, desired.ServiceConfig) })
	s.settled()
	s.awaitSettings(one.ID, "TCP", 80, after)
}

// "Its ranges checked": an entry out of range is named in an Event and left out, the
// others count.
func TestServiceConfigOutOfRangeIsAnEvent(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.config("mine", l4(
		desired.L4Listener{Protocol: "TCP", Port: 80, HealthCheck: &desired.HealthCheck{Enable: true, IntervalTime: new(301)}},
		desired.L4Listener{Protocol: "TCP", Port: 81, HealthCheck: quickCheck()},
		desired.L4Listener{Protocol: "TCP", Port: 82, Session: &desired.Session{Enable: true, SessionExpireTime: new(10)}},
	))
	s.service("web", with(desired.ServiceConfig, "mine"), ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(80)), tcp(82, intstr.FromInt32(80))))
	lb := s.awaitBalancer("web")
	s.awaitEvent("Service", "web", "InvalidConfig", "spec.loadBalancer.l4Listeners[0].healthCheck.intervalTime", "301", "2 to 300", s.name+"/mine")
	s.awaitEvent("Service", "web", "InvalidConfig", "spec.loadBalancer.l4Listeners[2].session.sessionExpireTime", "10", "30 to 3600")
	s.awaitSettings(lb.ID, "TCP", 80, documented)
	s.awaitSettings(lb.ID, "TCP", 81, settings{true, 2, 2, 2, 2, 0, "WRR"})
	s.awaitSettings(lb.ID, "TCP", 82, documented)
	s.settled()
}

// A TkeServiceConfig that isn't there is E4026; once made it is applied.
func TestMissingServiceConfigIsE4026(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", with(desired.ServiceConfig, "later"))
	lb := s.awaitBalancer("web")
	s.awaitEvent("Service", "web", "ConfigNotFound", "E4026", s.name+"/later")
	s.awaitSettings(lb.ID, "TCP", 80, documented)
	s.config("later", quickConfig())
	s.awaitSettings(lb.ID, "TCP", 80, settings{true, 2, 2, 2, 2, 0, "WRR"})
}

// "And -auto": made with an entry per listener, owned by the Service, followed when
// edited, kept in step with the ports, gone with the Service.
func TestAutoServiceConfigIsCreatedAndOwned(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	svc := s.service("web", with(desired.ServiceConfigAuto, "true"), func(o *corev1.Service) { delete(o.Annotations, desired.ServiceConfig) })
	lb := s.awaitBalancer("web")
	name := "web" + desired.AutoConfigSuffix
	auto := s.dynamic.Resource(configResource).Namespace(s.name)
	entries := func() (out []string, object *unstructured.Unstructured) {
		object, err := auto.Get(t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		s.must(err)
		list, _, err := unstructured.NestedSlice(object.Object, "spec", "loadBalancer", "l4Listeners")
		s.must(err)
		for _, l := range list {
			m := l.(map[string]any)
			out = append(out, fmt.Sprintf("%v/%v", m["protocol"], m["port"]))
		}
		return out, object
	}
	awaitEntries := func(want ...string) *unstructured.Unstructured {
		var object *unstructured.Unstructured
		s.await(fmt.Sprintf("the config has entries for %v", want), func() (bool, string) {
			var got []string
			got, object = entries()
			return slices.Equal(got, want), fmt.Sprint(got)
		})
		return object
	}
	object := awaitEntries("TCP/80")
	owners := object.GetOwnerReferences()
	if len(owners) != 1 || owners[0].UID != svc.UID {
		t.Errorf("want it owned by the Service, got %+v", owners)
	}
	s.awaitSettings(lb.ID, "TCP", 80, documented)

	raw, err := toJSON(map[string]any{"spec": l4(desired.L4Listener{Protocol: "TCP", Port: 80, HealthCheck: quickCheck()})})
	s.must(err)
	_, err = auto.Patch(t.Context(), name, "application/merge-patch+json", raw, metav1.PatchOptions{})
	s.must(err)
	edited := settings{true, 2, 2, 2, 2, 0, "WRR"}
	s.awaitSettings(lb.ID, "TCP", 80, edited)
	s.change("web", ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(80))))
	awaitEntries("TCP/80", "TCP/81")
	s.awaitSettings(lb.ID, "TCP", 80, edited)
	s.change("web", ports(tcp(81, intstr.FromInt32(80))))
	awaitEntries("TCP/81")
	s.awaitListeners(lb.ID, "TCP/81")
	s.settled()

	s.deleteService("web")
	s.awaitServiceGone("web")
	awaitEntries()
}

// "Session persistence": a client's connections stay with one pod.
func TestSessionPersistence(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.config("sticky", l4(desired.L4Listener{Protocol: "TCP", Port: 80, HealthCheck: quickCheck(), Session: &desired.Session{Enable: true}}))
	s.service("sticky", with(desired.ServiceConfig, "sticky"))
	s.service("plain")
	s.pods("a", "b", "c")
	s.awaitReady("a", "b", "c")
	sticky, plain := s.awaitBalancer("sticky"), s.awaitBalancer("plain")
	s.awaitSettings(sticky.ID, "TCP", 80, settings{true, 2, 2, 2, 2, 30, "WRR"})
	pods := func(vip string) []string {
		seen := map[string]bool{}
		for range 12 {
			seen[s.askHTTP("127.0.7.1", vip, 80).Pod] = true
		}
		var out []string
		for p := range seen {
			out = append(out, p)
		}
		slices.Sort(out)
		return out
	}
	if got := pods(sticky.VIP.String()); len(got) != 1 {
		t.Errorf("want one client served by one pod, got %v", got)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, pods(plain.VIP.String())); diff != "" {
		t.Errorf("want every pod to serve without persistence: -want +got:\n%s", diff)
	}
}

// "Close is met only where that listener's own health switch is observed off."
func TestHealthCheckOffOpensTheGate(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.config("off", l4(desired.L4Listener{Protocol: "TCP", Port: 80, HealthCheck: &desired.HealthCheck{Enable: false}}))
	s.service("web", with(desired.ServiceConfig, "off"), ports(tcp(80, intstr.FromInt32(81))))
	s.pods("a") // nobody listens at 81: no check could pass
	s.awaitReady("a")
	lb := s.awaitBalancer("web")
	if got := s.targets(lb.ID)["TCP/80"]; len(got) != 1 || got[0].Health != "Close" {
		t.Errorf("want the target Close, got %s", describe(got))
	}
	if g := gate(s.getPod("a")); g.Reason != readiness.ReasonReady {
		t.Errorf("want %s, got %+v", readiness.ReasonReady, g)
	}
	s.settled()
}
