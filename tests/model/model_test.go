package model

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

var (
	steps = flag.Int("model.steps", 20000, "how many steps to take in all")
	first = flag.Uint64("model.seed", 1, "the first walk's seed")
	walk  = flag.Int("model.walk", 1500, "how many steps a walk has before its faults stop")
	out   = flag.String("model.out", "", "where to write what was found, as JSON")
	trace = flag.Int("model.trace", 150, "how many of its last steps a violation shows")
)

// TestWalks takes random walks until there were enough steps, or one found a violation.
func TestWalks(t *testing.T) {
	began := time.Now()
	found := struct {
		Steps      int      `json:"steps"`
		Walks      int      `json:"walks"`
		FirstSeed  uint64   `json:"firstSeed"`
		LastSeed   uint64   `json:"lastSeed"`
		Violations []string `json:"violations"`
	}{FirstSeed: *first}
	defer func() {
		t.Logf("%d steps in %d walks, %.0f a second", found.Steps, found.Walks, float64(found.Steps)/time.Since(began).Seconds())
		if raw, err := json.Marshal(found); *out != "" && err == nil {
			err = os.WriteFile(*out, raw, 0o600)
			if err != nil {
				t.Error(err)
			}
		}
	}()
	for seed := *first; found.Steps < *steps && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			w := explore(t, seed)
			found.Steps += w.steps
			for _, v := range w.law.violations {
				found.Violations = append(found.Violations, fmt.Sprintf("seed %d: %s", seed, v))
			}
		})
		found.Walks++
		found.LastSeed = seed
	}
}

// explore takes one walk.
func explore(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed)
	w.start()
	for w.steps < *walk && len(w.law.violations) == 0 {
		w.step()
	}
	if len(w.law.violations) == 0 {
		w.converge()
	}
	w.stop()
	if len(w.law.violations) > 0 {
		t.Errorf("seed %d: %s\n%s\nagain: go test ./tests/model -run TestWalks -model.seed %d -model.steps 1", seed, strings.Join(w.law.violations, "\n"),
			strings.Join(w.trace[max(0, len(w.trace)-*trace):], "\n"), seed)
	}
	return w
}

// start makes a world with everything in it, and nothing done.
func (w *world) start() {
	w.clb.listeners = []*listener{{id: "lbl-foreign", name: "by-hand", protocol: "TCP", port: 9000}}
	for i := range 3 {
		w.clb.listeners[0].targets = append(w.clb.listeners[0].targets, &target{ip: fmt.Sprintf("10.0.0.%d", i+1), port: 8080, weight: 10, tag: "hand", since: time.Now(), next: time.Now()})
	}
	w.clb.listeners = append(w.clb.listeners, &listener{id: "lbl-other", name: desired.ListenerName("cls-2", uid(1), "TCP", 9001), protocol: "TCP", port: 9001,
		targets: []*target{{ip: "10.0.0.1", port: 8080, weight: 10, tag: uid(9999), since: time.Now(), next: time.Now()}}})
	for range 1 + w.dice.IntN(2) {
		w.service(map[string]string{"app": "web"})
	}
	w.api.changed = func(resource string, o object) {
		if resource == "pods" || resource == "services" {
			for _, r := range w.replicas {
				r.feed = append(r.feed, func() { r.set(resource, o) })
			}
		}
	}
	w.api.gone = func(resource string, o object) {
		if resource == "pods" || resource == "services" {
			for _, r := range w.replicas {
				r.feed = append(r.feed, func() { r.drop(o) })
			}
		}
	}
	for range 2 {
		w.newReplica()
	}
	w.replicas[0].lead()
}

// step is one choice of the scheduler.
func (w *world) step() {
	w.gather()
	w.steps++
	switch n, x := w.dice.IntN(100), w.dice.IntN(1000); {
	case x < w.temper.operate:
		w.operate()
	case x < w.temper.operate+w.temper.disturb:
		w.disturb()
	case n < w.temper.node && len(w.pods) > 0:
		w.live(w.pods[w.dice.IntN(len(w.pods))])
	case n < w.temper.node+w.temper.calls && len(w.calls) > 0:
		w.take(w.calls[w.dice.IntN(len(w.calls))])
	case n%2 == 0:
		w.hear()
	default:
		w.passSome()
	}
	w.law.fenced()
}

// hear has a replica's watch tell the next of what happened.
func (w *world) hear() {
	for _, i := range w.dice.Perm(len(w.replicas)) {
		if r := w.replicas[i]; len(r.feed) > 0 {
			next := r.feed[0]
			r.feed = r.feed[1:]
			w.note("%s hears of a change", r.name)
			next()
			return
		}
	}
	w.passSome()
}

// passSome lets some time go by, seldom much.
func (w *world) passSome() {
	d := time.Millisecond << w.dice.IntN(w.temper.long+1)
	w.note("%s pass", d)
	w.pass(d)
}

// operate is what users and controllers do.
func (w *world) operate() {
	if len(w.pods) < 3 {
		w.create()
		w.note("%s is made", w.pods[len(w.pods)-1].name)
		return
	}
	p := w.pods[w.dice.IntN(len(w.pods))]
	switch n := w.dice.IntN(10); {
	case p.deleting:
		if n == 0 {
			w.force(p)
		}
	case n < 6:
		w.remove(p)
	case n < 8 && p.stage == running:
		w.note("%s: its container is to be restarted", p.name)
		p.restarting = true
	case n == 8:
		w.force(p)
		if w.chance(50) { // as a StatefulSet does
			w.create()
		}
	case len(w.pods) < 4:
		w.create()
	}
}

// disturb has something go wrong.
func (w *world) disturb() {
	switch n := w.dice.IntN(8); {
	case n < 3: // a run dies
		for _, c := range w.calls {
			if c.run != nil && !c.run.over && c.system != "" {
				if c.run.reply != nil && w.chance(25) { // it goes on, and nobody hears
					w.note("%s: goes silent", c.run.name)
					c.run.reply(event.Reply{}, errLost)
					c.run.reply = noReply
					return
				}
				w.kill(c.run, w.chance(60))
				return
			}
		}
	case n == 3: // another replica leads
		w.handOver()
	case n == 4: // a replica dies, and comes again
		i := w.dice.IntN(len(w.replicas))
		r := w.replicas[i]
		w.note("%s dies", r.name)
		r.cancel()
		w.replicas = slices.Delete(w.replicas, i, i+1)
		w.newReplica()
		w.handOver()
	case n == 5 && len(w.late) > 0:
		again := w.late[0]
		w.late = w.late[1:]
		w.runs++
		again.name = fmt.Sprintf("%s-%d-again", again.function, w.runs)
		again.reply = noReply
		w.note("%s begins: %s", again.name, again.payload)
		w.begin(again)
	case n == 6 && len(w.pods) > 0:
		p := w.pods[w.dice.IntN(len(w.pods))]
		if p.up && p.stage == running {
			w.note("%s answers no more for now", p.name)
			p.up = false
		}
	}
}

func (w *world) handOver() {
	for _, r := range w.replicas {
		if r.follow != nil {
			r.follow()
			r.follow = nil
		}
	}
	r := w.replicas[w.dice.IntN(len(w.replicas))]
	w.note("%s leads", r.name)
	r.lead()
}
