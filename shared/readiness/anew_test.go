package readiness_test

import (
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// A pod whose sandbox was replaced and that is found healthy again, before anybody
// saw it otherwise, has a condition with the right words and the wrong time. Until
// the time is put right, every pass would decide it once more.
func TestANewSandboxIsANewTransition(t *testing.T) {
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	pod := &model.Pod{
		UID: "u", Started: start, ContainersReady: true, ContainersReadySince: start.Add(time.Minute), SandboxSince: start.Add(time.Minute),
		Gate: &model.Condition{Status: true, Reason: readiness.ReasonReady, Message: readiness.MessageReady, Since: start.Add(time.Second)},
	}
	observed := readiness.Observation{Pod: pod, HealthRead: start.Add(time.Hour), Now: start.Add(time.Hour), Bindings: []readiness.Binding{{
		Name: "b", State: readiness.Listening, Weight: 10, Health: model.Alive, Check: model.DefaultHealthCheck,
		Target: &model.Target{Tag: "u", Weight: 10, Registered: start.Add(time.Minute)},
	}}}
	first := readiness.Decide(observed)
	if !first.Status || !first.Write || !first.Anew {
		t.Fatalf("the first decision after the sandbox changed is %+v, want True, written anew", first)
	}
	pod.Gate.Since = observed.Now
	if again := readiness.Decide(observed); again.Write || again.Anew {
		t.Errorf("deciding again writes: %+v", again)
	}
}

// A pod that says it is ready but not since when is not held for ever, and not
// opened at once.
func TestNoBindingCountsFromCreationAtTheEarliest(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	pod := &model.Pod{UID: "u", Created: now.Add(-10 * time.Second), ContainersReady: true}
	d := readiness.Decide(readiness.Observation{Pod: pod, Now: now})
	if d.Status || d.Recheck != 50*time.Second {
		t.Errorf("got %+v, want False and another look after 50s", d)
	}
}
