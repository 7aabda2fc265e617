package main

import (
	"fmt"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/node/application"
	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

// verdict is what a request came to.
type verdict int

const (
	// good: a whole answer from a pod that is behind the Service, ready, and not yet told
	// to end when the connection began.
	good verdict = iota
	// failed: no whole answer. destroyed: no whole answer, as a fault had struck down the
	// very pod that the load balancer had chosen.
	failed
	destroyed
	// wrong: another pod's answer than that of the binding, wrongUngraceful: the same where
	// a fault took the binding's pod away, so that no drain came before.
	wrong
	wrongUngraceful
	// premature: the container's own readiness endpoint said no. prematureAgain: the same
	// of a container that was started again as a fault had struck it.
	premature
	prematureAgain
	// late: the pod had been sent SIGTERM before the connection began.
	late
)

// evidence is what there is about a request.
type evidence struct {
	sample load.Sample
	// flow is what carried it; traced says whether that is known.
	flow   clb.Flow
	traced bool
	// strike is what befell the pod of the binding that was chosen, before the request was
	// over.
	strike *strike
	// past is what happened to that pod, answered what happened to the one that answered.
	past, answered []node.Moment
	// site is whose the pod is that answered; "" for one never seen.
	site string
	// struckAgain: the pod that answered was struck before it did.
	struckAgain bool
}

// judge decides, and says why where it isn't good.
func judge(e evidence) (verdict, string) {
	s := e.sample
	if s.Err != nil {
		if e.traced && e.strike != nil {
			switch {
			case !e.flow.At.After(e.strike.at) && !e.strike.at.After(s.Ended):
				return destroyed, "cut by " + e.strike.what
			case e.flow.At.After(e.strike.at) && !e.ran():
				return destroyed, "sent to a pod that " + e.strike.what + " had ended"
			}
		}
		return failed, s.Err.Error()
	}
	switch {
	case e.site != s.Site || e.traced && e.flow.Label != s.Answer.UID:
		why := fmt.Sprintf("pod %s of %q answered, bound was %s", s.Answer.Pod, e.site, e.flow.Label)
		if e.strike != nil {
			return wrongUngraceful, why
		}
		return wrong, why
	case !s.Answer.Ready:
		if e.struckAgain {
			return prematureAgain, "started again, " + s.Answer.State
		}
		return premature, "its state is " + s.Answer.State
	case s.Answer.State == application.StateTerminating && e.traced && e.flow.At.After(e.told()):
		return late, "on a connection begun after SIGTERM"
	}
	return good, ""
}

// ran says whether the binding's pod had a process that listened all the while from the
// flow's beginning to the request's end: until SIGTERM, or its end. One of a pod that isn't
// known to have started didn't.
func (e evidence) ran() bool {
	var since time.Time
	up := false
	for _, m := range e.past {
		if m.At.After(e.sample.Ended) {
			break
		}
		switch m.What {
		case node.Started:
			up, since = true, m.At
		case node.Terminated, node.Exited:
			up = false
		}
	}
	return up && since.Add(startup).Before(e.flow.At)
}

// startup is how long a container that was started again may take until it listens: the
// ready-delay of site.yaml, and some.
const startup = 1500 * time.Millisecond

// told is when the container that answered was sent SIGTERM; far in the future if never.
func (e evidence) told() time.Time {
	for _, m := range e.answered {
		if m.What == node.Terminated && m.ContainerID == e.sample.Answer.ContainerID {
			return m.At
		}
	}
	return e.sample.Ended.Add(time.Hour)
}
