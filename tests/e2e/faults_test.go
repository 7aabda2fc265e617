package e2e

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/fault"
)

// TestFaultsPass: what breaks for everybody, one after the other; each time pods come and
// go meanwhile, and all is right when it is over.
func TestFaultsPass(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.pods("a")
	s.awaitReady("a")

	do := func(a fault.Act) func() {
		return func() { s.must(s.Faults.Do(t.Context(), a)) }
	}
	while := func(on func(*fault.Switches), seen func()) func() {
		return func() {
			switched(t, on)
			defer switched(t, func(to *fault.Switches) { *to = fault.Switches{} })
			seen()
		}
	}
	// idle lets the functions meet what is switched on.
	idle := func() {
		s.remains(2*time.Second, "pod b isn't ready", func() (bool, string) { return !is(s.getPod("b"), corev1.PodReady), "" })
	}
	for _, tc := range []struct {
		name string
		meet func()
	}{
		{"API server restarted", do(fault.Act{Do: fault.RestartComponent, Component: string(cluster.APIServer)})},
		{"etcd compacted", do(fault.Act{Do: fault.CompactEtcd})},
		{"clocks six minutes off", while(func(to *fault.Switches) { to.SkewMillis = 6 * 60_000 }, idle)},
		{"credentials expired", do(fault.Act{Do: fault.ExpireCredentials})},
		{"health frozen", while(func(to *fault.Switches) { to.FreezeHealth = true }, idle)},
		{"watches silently dead", while(func(to *fault.Switches) { to.Silent = true }, idle)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.pod("b")
			tc.meet()
			s.awaitReady("a", "b")
			s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("a"), 80, 10), target(s.getPod("b"), 80, 10))
			s.deletePod("b")
			s.awaitPodGone("b")
			s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("a"), 80, 10))
		})
	}
	s.settled()
}

// TestPartlyApplied: one of two pods can't be bound; the other is, and it follows when it
// can.
func TestPartlyApplied(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	held, err := s.Faults.Set(fault.Rule{Call: "BatchRegisterTargets", LoadBalancer: lb.ID, BeforeMillis: 1500, Times: 1})
	s.must(err)
	t.Cleanup(func() { s.must(s.Faults.Clear(held)) })
	s.pods("b", "c")
	b := netip.MustParseAddr(s.awaitIP("b").Status.PodIP)
	mended := switchedFor(t, func(to *fault.Switches) *[]netip.Addr { return &to.FailTargets }, b)
	s.awaitReady("c")
	if is(s.getPod("b"), corev1.PodReady) {
		t.Error("b is ready, and not bound")
	}
	mended()
	s.awaitReady("b")
}

// TestHiddenHealth: a pod that DescribeTargetHealth leaves out isn't healthy.
func TestHiddenHealth(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.pod("a")
	a := s.awaitIP("a")
	shown := switchedFor(t, func(to *fault.Switches) *[]netip.Addr { return &to.HideHealth }, netip.MustParseAddr(a.Status.PodIP))
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 10))
	s.remains(3*time.Second, "a isn't ready", func() (bool, string) { return !is(s.getPod("a"), corev1.PodReady), "" })
	shown()
	s.awaitReady("a")
}

// switched changes the switches that all tests share.
func switched(t *testing.T, change func(*fault.Switches)) {
	t.Helper()
	err := shared.Faults.Switch(func(to *fault.Switches) error {
		change(to)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// switchedFor adds an address to those of a switch until off is called, or the test ends.
func switchedFor(t *testing.T, of func(*fault.Switches) *[]netip.Addr, a netip.Addr) (off func()) {
	t.Helper()
	switched(t, func(to *fault.Switches) { *of(to) = append(*of(to), a) })
	off = func() {
		switched(t, func(to *fault.Switches) {
			all := of(to)
			*all = slices.DeleteFunc(*all, func(x netip.Addr) bool { return x == a })
		})
	}
	t.Cleanup(off)
	return off
}

// TestFatesOfPods: a node does away with pods, and others take their place.
func TestFatesOfPods(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.pods("a", "b")
	s.awaitReady("a", "b")
	full := s.name + "/a"
	s.must(s.Faults.Do(t.Context(), fault.Act{Do: fault.KillForMemory, Pod: full}))
	s.await("it is started again", func() (bool, string) {
		p := s.getPod("a")
		return slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
			return c.RestartCount == 1 && c.LastTerminationState.Terminated != nil && c.LastTerminationState.Terminated.Reason == "OOMKilled"
		}), show(p)
	})
	s.awaitReady("a")
	s.must(s.Faults.Do(t.Context(), fault.Act{Do: fault.EvictPod, Pod: full, GraceSeconds: 5}))
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("b"), 80, 10))
	// Its container had time to exit with 0.
	if p := s.getPod("a"); p.Status.Phase != corev1.PodSucceeded || !is(p, corev1.DisruptionTarget) {
		t.Errorf("got phase %s, conditions %+v", p.Status.Phase, p.Status.Conditions)
	}
}
