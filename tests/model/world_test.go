package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/reconcile"
)

const (
	clusterID = "cls-1"
	system    = "clb-direct-system"
	space     = "shop"
)

var policy = desired.Policy{Cluster: clusterID, Claim: desired.ByAnnotation, Network: desired.VPCCNI}

// world is everything there is. Only the scheduler's goroutine touches it, while all
// others wait; they hand in what they want under mu.
type world struct {
	t    *testing.T
	dice *rand.Rand
	api  *api
	clb  *cloud
	law  *law

	functions *reconcile.World
	replicas  []*replica
	pods      []*pod
	services  int
	created   int
	runs      int
	late      []*run // to be delivered once more

	// temper is how this walk goes.
	temper temper
	// calm: no more faults, and nobody changes anything.
	calm bool
	// rested: everything has once become as it should be since.
	rested bool
	// direct: calls are answered at once, while the world is made.
	direct bool
	steps  int
	trace  []string

	mu       sync.Mutex
	arrivals []*call
	calls    []*call
}

// call is something that waits for the scheduler: a call of a pass to the outside, a
// send of the forwarder, an answer.
type call struct {
	name string
	ctx  context.Context
	run  *run
	// effect is what it does in the world; its answer may come later.
	effect func(*apiError) *http.Response
	// fire is for what has no answer.
	fire   func()
	system string
	answer chan *http.Response
	res    *http.Response
	taken  bool
}

var errLost = errors.New("the answer was lost")

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, dice: rand.New(rand.NewPCG(seed, 1)), direct: true}
	w.temper = newTemper(w.dice)
	w.law = newLaw(w)
	w.api = newAPI(w)
	w.clb = &cloud{w: w, id: "lb-1", tasks: map[string]*task{}, async: seed%2 == 1}
	k, err := kube.New(&rest.Config{Host: "http://kubernetes", Transport: w.door("kube")})
	if err != nil {
		t.Fatal(err)
	}
	c, err := clb.New(clb.Options{Region: "ap-test", Endpoint: "http://clb", Transport: w.door("clb"),
		Credentials: func() (string, string, string) { return "id", "key", "" }})
	if err != nil {
		t.Fatal(err)
	}
	w.functions = &reconcile.World{Kube: k, CLB: c, Policy: policy, VPC: "vpc-1", LeaseNamespace: system, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	// What a client asks once is asked now: it would hold a mutex meanwhile.
	if err := k.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Ingresses(t.Context(), space, "", nil); err != nil {
		t.Fatal(err)
	}
	w.direct = false
	return w
}

// temper is how likely the scheduler picks what, so that some walks get far and others
// are all trouble.
type temper struct {
	// faults is how many of 1,000 calls go wrong in each way, disturb how often of 1,000
	// steps something dies, operate how often somebody changes something.
	faults, disturb, operate int
	// calls is how often of 100 steps a call goes on, node a pod; the watches tell and
	// time passes in the others, in half of them each.
	calls, node int
	// long is the longest time that passes in a step: 2^long ms.
	long int
}

func newTemper(dice *rand.Rand) temper {
	t := temper{calls: 50 + dice.IntN(30), node: 3 + dice.IntN(8), long: 6 + dice.IntN(7), operate: 2 + dice.IntN(30)}
	if dice.IntN(4) > 0 {
		t.faults, t.disturb = dice.IntN(20), dice.IntN(12)
	}
	return t
}

func (w *world) chance(percent int) bool { return w.dice.IntN(100) < percent }

func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.dice.Int64N(int64(to-from)+1))
}

// faulty tells whether things may go wrong now.
func (w *world) faulty() bool { return !w.calm && w.temper.faults > 0 }

// odd tells whether something does.
func (w *world) odd() bool { return w.faulty() && w.dice.IntN(1000) < w.temper.faults }

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%6d %9.3f  ", w.steps, time.Since(epoch).Seconds())+fmt.Sprintf(format, args...))
}

// epoch is when a synctest bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// door is the way to one of the APIs. Whoever comes waits for the scheduler.
func (w *world) door(system string) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		var body []byte
		if r.Body != nil {
			var err error
			if body, err = io.ReadAll(r.Body); err != nil {
				return nil, err
			}
			_ = r.Body.Close()
		}
		who, _ := r.Context().Value(runKey{}).(*run)
		c := &call{ctx: r.Context(), run: who, system: system, answer: make(chan *http.Response, 1)}
		if system == "kube" {
			c.name = r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), "/api")
			c.effect = func(*apiError) *http.Response { return w.api.serve(r, body) }
		} else {
			action := r.Header.Get("X-TC-Action")
			c.name = action + " " + string(body)
			c.effect = func(bad *apiError) *http.Response { return w.clb.serve(who, action, body, bad) }
		}
		if w.direct {
			return c.effect(nil), nil
		}
		if who != nil && who.dead.Load() {
			return nil, errLost
		}
		if who != nil {
			c.name = who.name + ": " + c.name
		}
		w.arrive(c)
		select {
		case res := <-c.answer:
			if res == nil {
				return nil, errLost
			}
			return res, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})
}

func (w *world) arrive(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrivals = append(w.arrivals, c)
}

// gather waits until everybody waits, and takes in who has come.
func (w *world) gather() {
	synctest.Wait()
	w.mu.Lock()
	come := w.arrivals
	w.arrivals = nil
	w.mu.Unlock()
	slices.SortStableFunc(come, func(a, b *call) int { return strings.Compare(a.name, b.name) })
	w.calls = slices.DeleteFunc(append(w.calls, come...), func(c *call) bool { return c.ctx != nil && c.ctx.Err() != nil && c.answer != nil })
	w.clb.settle()
}

// pass lets time go by, and what is due happen on its way.
func (w *world) pass(d time.Duration) {
	end := time.Now().Add(d)
	for left := d; left > 0; left = time.Until(end) {
		time.Sleep(w.clb.due(left))
		w.clb.settle()
	}
}

// refusals are what the CLB may answer instead.
var refusals = []apiError{
	{"RequestLimitExceeded", "too many requests"}, {"InternalError", "an internal error"},
	{"FailedOperation.ResourceInOperating", "busy"}, {"AuthFailure.TokenFailure", "the token is over"},
}

// take goes on with one of the calls that wait.
func (w *world) take(c *call) {
	drop := func() {
		w.calls = slices.DeleteFunc(w.calls, func(o *call) bool { return o == c })
	}
	switch {
	case c.fire != nil:
		drop()
		w.note("%s", c.name)
		c.fire()
	case c.taken:
		drop()
		w.note("answered: %s", clip(c.name))
		c.answer <- c.res
	case w.odd() && c.system == "clb":
		drop()
		bad := refusals[w.dice.IntN(len(refusals))]
		w.note("refused with %s: %s", bad.Code, clip(c.name))
		c.answer <- c.effect(&bad)
	case w.odd():
		drop()
		w.note("never arrived: %s", clip(c.name))
		c.answer <- nil
	case w.odd():
		drop()
		w.note("done, its answer lost: %s", clip(c.name))
		c.effect(nil)
		c.answer <- nil
	case w.chance(80):
		drop()
		w.note("%s", clip(c.name))
		c.answer <- c.effect(nil)
	default:
		w.note("done, the answer is under way: %s", clip(c.name))
		c.res, c.taken = c.effect(nil), true
	}
}

func clip(s string) string { return s[:min(len(s), 300)] }
