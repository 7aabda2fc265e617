package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// "Everything that exists sent at start": what was made, and what went, while no
// forwarder ran.
func TestForwarderSendsEverythingAtStart(t *testing.T) {
	s := newSpace(t)
	s.service("turned-off", selects("none"))
	s.service("deleted", selects("none"))
	off, deleted := s.awaitBalancer("turned-off"), s.awaitBalancer("deleted")
	withoutForwarder(t)
	s.change("turned-off", func(o *corev1.Service) { o.Spec.Type = corev1.ServiceTypeClusterIP })
	s.deleteService("deleted")
	s.service("web")
	s.pods("a", "b")
	s.pod("alone", labelled("nobody"))
	s.awaitIP("a")
	startForwarder(t, "url")
	s.awaitReady("a", "b")
	s.awaitGate("alone", corev1.ConditionFalse, readiness.ReasonNoBinding)
	s.awaitServiceGone("deleted")
	for _, id := range []string{off.ID, deleted.ID} {
		s.await("load balancer "+id+" is gone", func() (bool, string) {
			_, there := s.balancer(id)
			return !there, "still there"
		})
	}
	s.settled()
}

// via lists by which ways functions were invoked for a namespace.
func (s *space) via() func() []string {
	var mu sync.Mutex
	var ways []string
	s.onInvoke(s.t, func(inv scf.Invocation) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(string(inv.Payload), s.name) && !slices.Contains(ways, inv.Via) {
			ways = append(ways, inv.Via)
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ways)
	}
}

// "CloudEvents by function URL and by InvokeFunction."
func TestForwarderReachesFunctionsBothWays(t *testing.T) {
	for transport, want := range map[string]string{"invoke": "InvokeFunction", "url": "url"} {
		t.Run(transport, func(t *testing.T) {
			withoutForwarder(t)
			s := newSpace(t)
			via := s.via()
			startForwarder(t, transport)
			t.Cleanup(func() {
				if err := shared.StopForwarder(); err != nil {
					t.Error(err)
				}
			})
			s.service("web")
			s.pods("a")
			s.awaitReady("a")
			if got := via(); !slices.Equal(got, []string{want}) {
				t.Errorf("want functions invoked by %s alone, got %v", want, got)
			}
		})
	}
}

// "Nothing dropped": the forwarder dies without a word while pods wait, and another
// takes up where it was.
func TestForwarderRestartLosesNothing(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	s.awaitBalancer("web")
	s.pods("a", "b")
	s.awaitIP("a")
	s.must(shared.Forwarder.Signal(syscall.SIGKILL))
	<-shared.Forwarder.Done()
	s.must(shared.StopForwarder())
	t.Cleanup(func() { startForwarder(t, "url") })
	s.pods("c")
	s.deletePod("b")
	startForwarder(t, "url")
	s.awaitReady("a", "c")
	s.awaitPodGone("b")
	lb := s.awaitBalancer("web")
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("a"), 80, 10), target(s.getPod("c"), 80, 10))
	s.settled()
}

// "Nothing dropped" while functions are away: every attempt is ended by the platform
// for a while, then all converges.
func TestFunctionsAwayLoseNothing(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	var mu sync.Mutex
	ended := map[string]int{}
	back := s.onInvoke(t, func(inv scf.Invocation) {
		if strings.Contains(string(inv.Payload), s.name) && inv.Key != "readiness" {
			mu.Lock()
			ended[inv.Key]++
			mu.Unlock()
			s.SCF.Kill(inv.RequestID)
		}
	})
	s.service("web")
	s.pods("a")
	s.await("some attempts have ended", func() (bool, string) {
		mu.Lock()
		defer mu.Unlock()
		return ended["frontend"] >= 3, fmt.Sprint(ended)
	})
	if svc := s.getService("web"); len(svc.Finalizers) > 0 {
		t.Errorf("want no function to have run, got finalizers %v", svc.Finalizers)
	}
	back()
	s.awaitReady("a")
	s.settled()
}

// "/healthz, /readyz, /metrics."
func TestForwarderHealthReadinessAndMetrics(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("a")
	s.awaitReady("a")
	get := func(path string) (int, string) {
		res, err := http.Get(shared.ForwarderURL + path)
		s.must(err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		s.must(err)
		return res.StatusCode, string(body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(path); status != http.StatusOK {
			t.Errorf("want %s to answer 200, got %d: %s", path, status, body)
		}
	}
	_, metrics := get("/metrics")
	for _, want := range []string{
		`clb_direct_forwarder_sends_total{function="frontend",result="ok"} [1-9]`,
		`clb_direct_forwarder_sends_total{function="backends",result="ok"} [1-9]`,
		`clb_direct_forwarder_sends_total{function="readiness",result="ok"} [1-9]`,
		`clb_direct_forwarder_send_seconds_count{function="frontend"} [1-9]`,
		`clb_direct_forwarder_leading 1`,
		`clb_direct_forwarder_webhook_decisions_total{decision="had"} `,
		`clb_direct_forwarder_queue_length{function="backends",state="waiting"} `,
		`clb_direct_forwarder_oldest_unacknowledged_seconds{function="readiness"} `,
		`clb_direct_forwarder_lists_total{resource="pods"} [1-9]`,
	} {
		if !regexp.MustCompile(`(?m)^` + strings.ReplaceAll(strings.ReplaceAll(want, "{", `\{`), "}", `\}`)).MatchString(metrics) {
			t.Errorf("want a line like %s", want)
		}
	}
	if t.Failed() {
		t.Log(metrics)
	}
}

// "Reply obeyed (requeue, wake)": what a function asks for comes without anything
// changing in the cluster. A CLB that takes long to make is asked after.
func TestForwarderObeysReplies(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	var mu sync.Mutex
	var seen []scf.Invocation
	s.onInvoke(t, func(inv scf.Invocation) {
		if strings.Contains(string(inv.Payload), s.name) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, inv)
		}
	})
	s.service("web", selects("none"))
	s.awaitBalancer("web")
	s.await("the backends were woken after the listeners were made", func() (bool, string) {
		mu.Lock()
		defer mu.Unlock()
		frontend, backends := 0, 0
		for _, inv := range seen {
			switch inv.Key {
			case "frontend":
				frontend++
			case "backends":
				backends++
			}
		}
		return frontend >= 2 && backends >= 1, fmt.Sprintf("%d frontend, %d backends", frontend, backends)
	})
	quiet := func() int { mu.Lock(); defer mu.Unlock(); return len(seen) }
	s.await("it becomes quiet", func() (bool, string) {
		before := quiet()
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
			if quiet() != before {
				return false, "events"
			}
			<-time.After(50 * time.Millisecond)
		}
		return true, ""
	})
}
