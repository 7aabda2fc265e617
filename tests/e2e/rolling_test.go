package e2e

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// drainedFirst checks that pods which have ended were told so only when the CLB had their
// weights at 0: the hook was answered first, and the pod said that it was drained.
func (s *space) drainedFirst(pods []corev1.Pod) {
	s.t.Helper()
	for _, p := range pods {
		ended, term := s.moment(p.UID, node.HookEnded), s.moment(p.UID, node.Terminated)
		if term.Before(ended) {
			s.t.Errorf("%s heard SIGTERM at %s, its hook was answered at %s", p.Name, term, ended)
		}
	}
}

// neverCutOff watches a CLB's targets until stop is called: none may go while it has
// weight, as that cuts off who is being served.
func (s *space) neverCutOff(lb string) (stop func()) {
	weights := map[string]int64{}
	done := make(chan struct{})
	ended := make(chan []string)
	go func() {
		var cut []string
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			now := map[string]int64{}
			for at, targets := range s.targets(lb) {
				for _, t := range targets {
					now[at+" "+t.IP.String()+" "+t.Tag] = int64(t.Weight)
				}
			}
			for key, weight := range weights {
				if _, there := now[key]; !there && weight > 0 {
					cut = append(cut, fmt.Sprintf("%s was unbound at weight %d", key, weight))
				}
			}
			weights = now
			select {
			case <-done:
				ended <- cut
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		s.t.Helper()
		close(done)
		if cut := <-ended; len(cut) > 0 {
			s.t.Errorf("want targets lowered before they are unbound: %q", cut)
		}
	}
}

// "Rolling updates without one failed request": minReadySeconds, maxUnavailable 0, drains
// before unbinds.
func TestRollingDeploymentLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	s.deploy("web", 2, func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 1 })
	old := s.podsOf("web")
	whole := s.neverCutOff(lb.ID)
	l := s.press(lb.VIP.String())
	s.roll("web")
	s.await("the update is through", s.rolled("web"))
	s.drainedFirst(old)
	s.await("nothing of the old ones is left", func() (bool, string) {
		targets := s.targets(lb.ID)["TCP/80"]
		return len(targets) == 2, describe(targets)
	})
	s.lostNothing(l)
	whole()
	s.settled()
}

// A StatefulSet ends a pod before it makes the next of that name.
func TestRollingStatefulSetLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	sets := s.client.AppsV1().StatefulSets(s.name)
	_, err := sets.Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "web"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: template("web"),
			PodManagementPolicy: appsv1.ParallelPodManagement,
		},
	}, metav1.CreateOptions{})
	s.must(err)
	rolled := func() (bool, string) {
		set, err := sets.Get(t.Context(), "web", metav1.GetOptions{})
		s.must(err)
		st := set.Status
		return st.ObservedGeneration >= set.Generation && st.UpdatedReplicas == 2 && st.ReadyReplicas == 2 && st.CurrentRevision == st.UpdateRevision, fmt.Sprintf("%+v", st)
	}
	s.await("the StatefulSet is there", rolled)
	old := s.podsOf("web")
	l := s.press(lb.VIP.String())
	_, err = sets.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"template":{"metadata":{"annotations":{"version":"two"}}}}}`), metav1.PatchOptions{})
	s.must(err)
	s.await("the update is through", rolled)
	s.drainedFirst(old)
	s.lostNothing(l)
	s.settled()
}

// An eviction by the API, as kubectl drain makes it, is a deletion; one by the kubelet for
// its memory has a grace period of its own and no deletionTimestamp.
func TestEvictedPodsAreDrainedFirst(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	for _, name := range []string{"api", "kubelet", "stays"} {
		s.pod(name, grace(30))
	}
	s.awaitReady("api", "kubelet", "stays")
	evicted := []corev1.Pod{*s.getPod("api"), *s.getPod("kubelet")}
	l := s.press(lb.VIP.String())
	s.must(s.client.CoreV1().Pods(s.name).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "api"}}))
	s.must(s.Nodes.Evict(evicted[1].UID, 30*time.Second))
	s.drainedFirst(evicted)
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("stays"), 80, 10))
	s.lostNothing(l)
	s.settled()
}

// fleet starts a node of the test's own, which only takes pods that name it.
func (s *space) fleet(set func(*node.Options)) (*node.Fleet, string) {
	s.t.Helper()
	o := node.Options{Config: s.Cluster.RESTConfig(), NamePrefix: s.name + "-", Unschedulable: true, Log: slog.New(slog.DiscardHandler)}
	if set != nil {
		set(&o)
	}
	f, err := node.Start(s.t.Context(), o)
	s.must(err)
	s.t.Cleanup(func() { s.must(f.Close()) })
	return f, s.name + "-1"
}

func on(name string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = name } }

// A node that shuts down gracefully ends its pods without a deletionTimestamp.
func TestPodsOfANodeThatShutsDownAreDrainedFirst(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	fleet, name := s.fleet(nil)
	s.pod("a", grace(30), on(name))
	s.pod("b", grace(30), on(name))
	s.pods("stays")
	s.awaitReady("a", "b", "stays")
	uids := []types.UID{s.getPod("a").UID, s.getPod("b").UID}
	l := s.press(lb.VIP.String())
	s.must(fleet.Shutdown(t.Context(), name, 30*time.Second))
	for _, uid := range uids {
		at := map[node.What]time.Time{}
		for _, m := range fleet.Moments(uid) {
			at[m.What] = m.At
		}
		if at[node.HookEnded].IsZero() || at[node.Terminated].Before(at[node.HookEnded]) {
			t.Errorf("want SIGTERM after the hook's answer, got %v", at)
		}
	}
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("stays"), 80, 10))
	s.lostNothing(l)
	s.settled()
}

// "A shared CLB with 20 Services rolling at once drains as fast as one alone."
func TestTwentyServicesOfOneLoadBalancerDrainAsFastAsOne(t *testing.T) {
	s := newSpace(t)
	const services = 20
	id := s.existing()
	var many desired.ConfigSpec
	for i := range services {
		many.LoadBalancer.L4Listeners = append(many.LoadBalancer.L4Listeners, desired.L4Listener{Protocol: "TCP", Port: 1000 + i, HealthCheck: quickCheck()})
	}
	s.config("many", many)
	name := func(i int) string { return fmt.Sprintf("s%02d", i) }
	var names []string
	for i := range services {
		s.service(name(i), selects(name(i)), with(desired.ExistingLB, id, desired.ServiceConfig, "many"), ports(tcp(int32(1000+i), intstr.FromInt32(80))))
		s.awaitBalancer(name(i))
	}
	s.awaitGating(name(services - 1))
	for i := range services {
		for _, pod := range []string{"going", "alone", "stays"} {
			names = append(names, name(i)+"-"+pod)
			s.pod(names[len(names)-1], grace(30), labelled(name(i)))
		}
	}
	s.awaitReady(names...)
	s.settled()
	// drain is how long it takes until all of the pods hear SIGTERM.
	drain := func(pods ...string) time.Duration {
		var uids []types.UID
		for _, p := range pods {
			uids = append(uids, s.getPod(p).UID)
		}
		began := time.Now()
		var g errgroup.Group
		for _, p := range pods {
			g.Go(func() error { return s.client.CoreV1().Pods(s.name).Delete(t.Context(), p, metav1.DeleteOptions{}) })
		}
		s.must(g.Wait())
		var last time.Time
		for _, uid := range uids {
			if at := s.moment(uid, node.Terminated); at.After(last) {
				last = at
			}
		}
		return last.Sub(began)
	}
	one := drain(name(0) + "-alone")
	since := time.Now()
	var going []string
	for i := range services {
		going = append(going, name(i)+"-going")
	}
	all := drain(going...)
	calls := byAction(s.writes(id, since))
	t.Logf("one drained in %s, %d in %s with %v", one, services, all, calls)
	if all > one*3/2 {
		t.Errorf("want %d Services drained as fast as one, which took %s; they took %s with %v", services, one, all, calls)
	}
	if n := calls["BatchModifyTargetWeight"]; n == 0 || n > services/2 {
		t.Errorf("want few calls to lower %d targets, got %v", services, calls)
	}
}

// "No request reaches the next owner of its IP before that pod has passed its own health
// check as itself, at any reuse interval": two apps take each other's address in turn.
func TestReusedAddressNeverServesAnother(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	_, name := s.fleet(func(o *node.Options) { o.ReuseAddresses = true })
	balancers := map[string]clb.LoadBalancer{}
	for _, app := range []string{"one", "two"} {
		s.service(app, selects(app))
		balancers[app] = s.awaitBalancer(app)
	}
	s.awaitGating("two")
	loads := map[string]*load{}
	for _, app := range []string{"one", "two"} {
		s.pod("stays-"+app, labelled(app))
	}
	s.awaitReady("stays-one", "stays-two")
	owners := map[string]string{} // app by UID
	for _, app := range []string{"one", "two"} {
		owners[string(s.getPod("stays-"+app).UID)] = app
		loads[app] = s.press(balancers[app].VIP.String())
	}
	var last *corev1.Pod
	for i, app := range []string{"one", "two", "one", "two"} {
		pod := fmt.Sprintf("p%d", i)
		s.pod(pod, grace(30), labelled(app), on(name))
		s.awaitReady(pod)
		p := s.getPod(pod)
		owners[string(p.UID)] = app
		if last != nil && last.Status.PodIP != p.Status.PodIP {
			t.Fatalf("want the address %s used again, got %s", last.Status.PodIP, p.Status.PodIP)
		}
		last = p
		if i%2 == 0 {
			s.deletePod(pod)
		} else { // or it goes without anybody's being told before
			s.must(s.client.CoreV1().Pods(s.name).Delete(t.Context(), pod, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
		}
		s.awaitPodGone(pod)
		if i%2 == 1 {
			s.await("the other's address is fenced off", func() (bool, string) {
				targets := s.targets(balancers[app].ID)["TCP/80"]
				return !slices.ContainsFunc(targets, func(b clb.Target) bool { return b.Tag == string(p.UID) && b.Weight > 0 }), describe(targets)
			})
		}
	}
	for app, l := range loads {
		close(l.done)
		l.wg.Wait()
		for uid, n := range l.answers {
			if owners[uid] != app {
				t.Errorf("%d requests for %s were answered by a pod of %q", n, app, owners[uid])
			}
		}
	}
	s.settled()
}

// A pod that nothing binds has nothing to wait for: its Service lets go of it, and it keeps
// its hook.
func TestPodThatNothingBindsEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.awaitBalancer("web")
	s.awaitGating()
	s.pod("a", grace(60))
	s.awaitReady("a")
	a := s.getPod("a")
	raw := []byte(`{"metadata":{"labels":{"app":"released"}}}`)
	_, err := s.client.CoreV1().Pods(s.name).Patch(t.Context(), "a", types.MergePatchType, raw, metav1.PatchOptions{})
	s.must(err)
	s.await("it is unbound", func() (bool, string) {
		targets := s.targets(balancerOf(s.getService("web")))["TCP/80"]
		return len(targets) == 0, describe(targets)
	})
	s.deletePod("a")
	began, ended := s.moment(a.UID, node.HookBegan), s.moment(a.UID, node.HookEnded)
	if p, err := s.client.CoreV1().Pods(s.name).Get(t.Context(), "a", metav1.GetOptions{}); err == nil && is(p, model.DrainingType) {
		t.Errorf("want nothing marked, got %+v", p.Status.Conditions)
	}
	if hold := 20 * time.Second; ended.Sub(began) > hold/4 {
		t.Errorf("want an answer at once, it took %s of the %s that there are", ended.Sub(began), hold)
	}
}
