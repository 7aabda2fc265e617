package main

import (
	"errors"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/node/application"
	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

// at is a moment of a story that begins at 0.
func at(seconds float64) time.Time {
	return time.Unix(1_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// told is a request from 10 s to 11 s over a connection begun at 10 s to pod a of site web,
// which has run from the beginning and answered.
func told(change ...func(*evidence)) evidence {
	e := evidence{
		sample: load.Sample{Site: "web", Sent: at(10), Ended: at(11), Answer: application.Answer{UID: "a", Pod: "web-a", State: application.StateReady, Ready: true, ContainerID: "c1"}},
		flow:   clb.Flow{At: at(10), Label: "a"},
		traced: true,
		past:   []node.Moment{{What: node.Started, ContainerID: "c1", At: at(0)}},
		site:   "web",
	}
	e.answered = e.past
	for _, f := range change {
		f(&e)
	}
	return e
}

func unanswered(e *evidence) { e.sample.Err = errors.New("connection reset") }

func flowAt(seconds float64) func(*evidence) {
	return func(e *evidence) { e.flow.At = at(seconds) }
}

func struck(seconds float64) func(*evidence) {
	return func(e *evidence) { e.strike = &strike{at(seconds), "a crash"} }
}

func then(what node.What, seconds float64) func(*evidence) {
	return func(e *evidence) {
		e.past = append(e.past, node.Moment{What: what, ContainerID: "c1", At: at(seconds)})
		e.answered = e.past
	}
}

func answered(uid, site string) func(*evidence) {
	return func(e *evidence) { e.sample.Answer.UID, e.site = uid, site }
}

func says(state string, ready bool) func(*evidence) {
	return func(e *evidence) { e.sample.Answer.State, e.sample.Answer.Ready = state, ready }
}

func TestJudge(t *testing.T) {
	cases := map[string]struct {
		reason string
		e      evidence
		want   verdict
	}{
		"Good":              {"a whole answer of the pod that is bound", told(), good},
		"Failed":            {"nothing explains it", told(unanswered), failed},
		"Cut":               {"the connection was there when its pod was struck", told(unanswered, flowAt(9), struck(10.5)), destroyed},
		"CutAfterwards":     {"the pod was struck when the request was over", told(unanswered, struck(12)), failed},
		"SentToTheDead":     {"the pod chosen had ended by a strike", told(unanswered, struck(5), then(node.Exited, 5.1)), destroyed},
		"SentToTheRisen":    {"it had long been started again", told(unanswered, struck(5), then(node.Exited, 5.1), then(node.Started, 5.2)), failed},
		"SentToTheStarting": {"it was just being started again", told(unanswered, struck(9), then(node.Exited, 9.1), then(node.Started, 9.2)), destroyed},
		"SentToTheLeaving":  {"it listens no more, though it has not ended", told(unanswered, struck(5), then(node.Terminated, 5.1)), destroyed},
		"LeavingUnstruck":   {"the same, and nothing had struck it", told(unanswered, then(node.Terminated, 9)), failed},
		"DeadWithoutStrike": {"nobody struck it: its end should have been drained", told(unanswered, then(node.Exited, 9)), failed},
		"Untraced": {"which pod was chosen isn't known: nothing is excused", told(unanswered, struck(10.5), func(e *evidence) {
			e.traced = false
		}), failed},
		"WrongSite":       {"another Service's pod answered", told(answered("b", "shop")), wrong},
		"Unknown":         {"a pod that nobody has ever seen", told(answered("b", "")), wrong},
		"WrongPod":        {"another pod of the same Service than the bound one", told(answered("b", "web")), wrong},
		"WrongUngraceful": {"the same where the bound one was struck", told(answered("b", "shop"), struck(5)), wrongUngraceful},
		"Premature":       {"its own readiness endpoint says no", told(says(application.StateStarting, false)), premature},
		"PrematureAgain": {"the same, of one that was struck", told(says(application.StateStarting, false), func(e *evidence) {
			e.struckAgain = true
		}), prematureAgain},
		"Goodbye": {"the last answer on a connection from before SIGTERM", told(says(application.StateTerminating, true), flowAt(9), then(node.Terminated, 9.5)), good},
		"Late":    {"a connection that should not have come any more", told(says(application.StateTerminating, true), then(node.Terminated, 9.5)), late},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got, why := judge(tc.e); got != tc.want {
				t.Errorf("%s: got %d (%s), want %d", tc.reason, got, why, tc.want)
			}
		})
	}
}

func TestBrokenHolds(t *testing.T) {
	hook := func(began, ended float64, how ...node.What) []node.Moment {
		out := []node.Moment{{What: node.Started, At: at(0)}, {What: node.HookBegan, At: at(began)}, {What: node.HookEnded, At: at(ended)}}
		for _, what := range how {
			out = append(out, node.Moment{What: what, At: at(ended)})
		}
		return out
	}
	b := newBook()
	b.kills = []time.Time{at(10), at(20)}
	for name, tc := range map[string]struct {
		reason string
		past   []node.Moment
		want   bool
	}{
		"Broken":   {"it ended as a replica was killed", hook(8, 20.1, node.HookFailed), true},
		"Answered": {"it was answered", hook(8, 10.1), false},
		"Earlier":  {"it broke before any was killed", hook(8, 9.9, node.HookFailed), false},
		"Later":    {"it broke long after", hook(8, 12, node.HookFailed), false},
		"NoHook":   {"there was none", []node.Moment{{What: node.Started, At: at(0)}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := b.brokenHold(tc.past); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}

func TestWeightAt(t *testing.T) {
	l := life{weights: []weighed{{at(1), 0}, {at(2), 10}, {at(5), 0}, {at(8), 10}}}
	for _, tc := range []struct {
		reason string
		at     float64
		weight int
		ever   bool
	}{
		{"before anything", 0.5, 0, false},
		{"bound, not raised", 1.5, 0, false},
		{"raised", 3, 10, true},
		{"drained", 6, 0, true},
		{"raised again", 9, 10, true},
	} {
		if weight, ever := l.weightAt(at(tc.at)); weight != tc.weight || ever != tc.ever {
			t.Errorf("%s: got %d, %t", tc.reason, weight, ever)
		}
	}
}
