package model

import (
	"strings"
	"testing/synctest"
	"time"

	"github.com/clb-direct/clb-direct/shared/event"
)

// recovery is how long everything may take to become as it should be.
const recovery = 5 * time.Minute

func noReply(event.Reply, error) {}

// converge stops all faults and waits until everything is as it should be, and stays so.
func (w *world) converge() {
	w.calm = true
	w.note("calm")
	for _, p := range w.pods {
		p.restarting = p.restarting && p.stage != running
	}
	end := time.Now().Add(recovery)
	var wrong []string
	for time.Now().Before(end) && len(w.law.violations) == 0 {
		w.rest(5 * time.Second)
		if wrong = w.wrong(); len(wrong) > 0 {
			continue
		}
		wrote := w.law.wrote
		w.rest(time.Minute)
		if wrong = w.wrong(); len(wrong) > 0 || w.law.wrote != wrote {
			continue
		}
		if w.rested || len(w.pods) == 0 {
			return
		}
		// Once more with nothing amiss: a container is restarted, a pod goes and one comes.
		w.rested = true
		w.pods[0].restarting = true
		w.remove(w.pods[len(w.pods)-1])
		w.create()
	}
	if len(w.law.violations) == 0 {
		w.law.broken("not converged after %s: %s", recovery, strings.Join(wrong, "; "))
	}
}

func (w *world) wrong() []string {
	wrong := w.law.settled()
	for _, p := range w.pods {
		if p.stage != running || p.deleting || !p.up {
			wrong = append(wrong, p.name+" is on its way")
		}
	}
	return wrong
}

// rest lets a time go by in which whatever waits goes on.
func (w *world) rest(d time.Duration) {
	end := time.Now().Add(d)
	for time.Now().Before(end) && len(w.law.violations) == 0 {
		w.gather()
		busy := false
		for _, r := range w.replicas {
			for len(r.feed) > 0 {
				next := r.feed[0]
				r.feed = r.feed[1:]
				next()
				busy = true
				w.steps++
			}
		}
		for _, p := range append([]*pod(nil), w.pods...) {
			before := *p
			version := w.api.version
			w.live(p)
			if *p != before || w.api.version != version {
				busy = true
				w.steps++
			}
		}
		if len(w.calls) > 0 {
			w.take(w.calls[w.dice.IntN(len(w.calls))])
			busy = true
			w.steps++
		}
		if !busy {
			w.steps++
			w.pass(100 * time.Millisecond)
		}
		w.law.fenced()
	}
}

// stop ends all goroutines of the bubble.
func (w *world) stop() {
	for _, r := range w.replicas {
		r.cancel()
	}
	for round := 0; round < 1000; round++ {
		synctest.Wait()
		w.mu.Lock()
		come := w.arrivals
		w.arrivals = nil
		w.mu.Unlock()
		for _, c := range append(w.calls, come...) {
			if c.run != nil {
				c.run.dead.Store(true)
				c.run.over = true
			}
			if c.answer != nil {
				select {
				case c.answer <- nil:
				default:
				}
			}
		}
		w.calls = nil
		for r := range w.law.running {
			r.dead.Store(true)
			r.cancel()
		}
		time.Sleep(time.Second)
		if len(come) == 0 && round > 60 {
			return
		}
	}
}
