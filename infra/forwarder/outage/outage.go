// Package outage opens readiness gates by declared policy while the function that decides
// them doesn't answer. As long as it answers, whatever it says, nothing is done here: it
// knows more, and has the same policy.
package outage

import (
	"context"
	"log/slog"
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// Every is how often an Opener looks.
const Every = 2 * time.Second

// Unanswered is what a gate that it opened is said to have waited for.
const Unanswered = "the function readiness does not answer"

// Writer writes to pods.
type Writer interface {
	PatchCondition(ctx context.Context, p *model.Pod, next model.Condition, anew bool, now time.Time) error
	Record(ctx context.Context, n kube.Note, now time.Time) error
}

// Opener opens gates while its replica leads.
type Opener struct {
	Index *index.Index
	// Silent tells since when a partition has been sent to in vain.
	Silent func(work.Key) (since time.Time, silent bool)
	Writer Writer
	// Opened is told of every gate that was opened.
	Opened func()
	Now    func() time.Time
	Log    *slog.Logger
}

// Run looks again and again until ctx ends.
func (o *Opener) Run(ctx context.Context) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			o.Look(ctx)
		}
	}
}

// Look opens every gate whose time has come.
func (o *Opener) Look(ctx context.Context) {
	for _, w := range o.Index.Openable() {
		if ctx.Err() != nil {
			return
		}
		d, ok := o.decide(w)
		if !ok {
			continue
		}
		now := o.Now()
		err := o.Writer.PatchCondition(ctx, &w.Pod, model.Condition{Status: d.Status, Reason: d.Reason, Message: d.Message}, d.Anew, now)
		if err != nil {
			if !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) { // else it has changed, and is looked at again
				o.Log.Warn("opening a gate", "pod", w.Pod.Ref(), "error", err)
			}
			continue
		}
		o.Opened()
		o.Log.Warn("opened a gate by policy", "pod", w.Pod.Ref(), "after", w.After)
		if err := o.Writer.Record(ctx, kube.OpenedByPolicy(&w.Pod, d.Message), now); err != nil {
			o.Log.Warn("recording an event", "pod", w.Pod.Ref(), "error", err)
		}
	}
}

// decide is what readiness would decide if it had to without a word from any CLB. The
// function must have been silent for as long as the policy says, not only the containers
// ready: else its first hiccup would open the gates of pods that wait for good reason.
func (o *Opener) decide(w index.Openable) (d readiness.Decision, open bool) {
	bindings := make([]readiness.Binding, 0, len(w.Keys))
	for _, k := range w.Keys {
		since, silent := o.Silent(k)
		if !silent || o.Now().Sub(since) < w.After {
			return d, false
		}
		bindings = append(bindings, readiness.Binding{
			Name: "Function readiness", State: readiness.Making, Detail: Unanswered, Unseen: true, OpenAfter: w.After,
			Address: model.Address{IP: w.Pod.IP},
		})
	}
	d = readiness.Decide(readiness.Observation{Pod: &w.Pod, Bindings: bindings, HealthRead: o.Now(), Now: o.Now(), Live: w.Live})
	return d, d.Opened && d.Reason == readiness.ReasonOpened && d.Write
}
