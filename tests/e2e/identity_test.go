package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/localdev/sts"
	"github.com/clb-direct/clb-direct/shared/desired"
)

const replica = "forwarder-0"

// "--credential=pod": keys for the pod's own token, of a role with infra/cam/forwarder.json
// and no more, renewed for as long as it runs. What comes while there are none waits.
func TestForwarderCallsByPodIdentity(t *testing.T) {
	withoutForwarder(t)
	s := newSpace(t)
	via := s.via()
	before := len(s.STS.Calls())
	calls := func(want func(sts.Call) bool) (n int) {
		for _, c := range s.STS.Calls()[before:] {
			if want(c) {
				n++
			}
		}
		return n
	}
	given := func(c sts.Call) bool { return c.Code == "" }
	// until has something to send until STS was asked: keys are renewed for what is sent.
	weight := 0
	until := func(why, pod string, cond func() bool) {
		t.Helper()
		s.await(why, func() (bool, string) {
			weight = weight%100 + 1
			s.annotate(pod, desired.CustomWeight, strconv.Itoa(weight))
			return cond(), fmt.Sprint(s.STS.Calls()[before:])
		})
	}
	s.STS.SetLifetime(4 * time.Second)
	t.Cleanup(func() { s.STS.SetLifetime(0) })
	startForwarder(t, stack.ByIdentity)
	t.Cleanup(func() {
		if err := shared.StopForwarder(); err != nil {
			t.Error(err)
		}
	})

	s.service("web")
	s.pods("a")
	s.awaitReady("a")
	until("the keys are renewed", "a", func() bool { return calls(given) >= 3 })
	for _, c := range s.STS.Calls()[before:] {
		if c.Code != "" || c.Subject != "system:serviceaccount:"+stack.Namespace+":forwarder" {
			t.Errorf("want keys for the forwarder's ServiceAccount alone: %+v", c)
		}
	}

	s.must(s.ProveIdentity(t.Context(), replica, "kubernetes"))
	until("a wrong token is refused", "a", func() bool {
		return calls(func(c sts.Call) bool { return c.Code == "InvalidParameter.WebIdentityTokenError" }) > 0
	})
	s.pods("b")
	s.await("what can't be signed is counted as such", func() (bool, string) {
		line := s.metric(`clb_direct_forwarder_sends_total{function="backends",result="credential"}`)
		return line != "", line
	})
	if log := s.tail(5, "the pod's role gives no keys"); !strings.Contains(log, "WebIdentityTokenError") || !strings.Contains(log, "roleName/clb-direct-forwarder") {
		t.Errorf("want the log to say which role, and what STS has against the token:\n%s", log)
	}
	s.deletePod("a") // nobody hears of that either
	s.must(s.ProveIdentity(t.Context(), replica, ""))
	s.awaitReady("b")
	s.awaitPodGone("a")
	lb := s.awaitBalancer("web")
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("b"), 80, 10))

	// Keys that end before their time are taken for what they are.
	s.STS.SetLifetime(0)
	had := calls(given)
	until("keys for long", "b", func() bool { return calls(given) > had })
	s.annotate("b", desired.CustomWeight, nil)
	s.Store.Expire(time.Now())
	s.pods("c")
	s.awaitReady("c")
	if got := via(); len(got) != 1 || got[0] != "InvokeFunction" {
		t.Errorf("want functions invoked by InvokeFunction alone, got %v", got)
	}
	if line := s.metric("clb_direct_forwarder_dropped_total"); !strings.HasSuffix(strings.TrimSpace(line), " 0") {
		t.Errorf("want nothing dropped: %q", line)
	}
	s.settled()
}
