// Package drain answers the preStop hooks that our webhook gave to pods: it holds the
// answer, and with it the kubelet's SIGTERM, until no load balancer sends the pod
// anything new. Every replica answers, leading or not.
package drain

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/admission"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Pattern is what a Gate is to be served at.
const Pattern = "GET " + model.DrainPath + "{namespace}/{token}/{container}"

// Outcome is how a hold ended, for metrics.
type Outcome string

// The outcomes.
const (
	// Drained: nothing new is sent to the pod. Unbound: nothing of ours serves it.
	Drained, Unbound Outcome = "drained", "unbound"
	// Late: the hold's time was over before that. Broken: whoever asked has gone, or
	// this replica has.
	Late, Broken Outcome = "late", "broken"
	// Unknown: no pod has that token, or not that container. Full: too many are held.
	Unknown, Full Outcome = "unknown", "full"
)

// Outcomes lists them all.
var Outcomes = []Outcome{Drained, Unbound, Late, Broken, Unknown, Full}

// Options of a Gate; zero durations and numbers get the defaults.
type Options struct {
	Index *index.Index
	// Send has marks sent whether this replica leads or not.
	Send func([]work.Mark)
	// Propagation is how long a CLB's data plane may take to follow what its API has
	// confirmed. Nothing documents it; default 2 s.
	Propagation time.Duration
	// Again is how often what isn't answered is sent again; default 1 s.
	Again time.Duration
	// Most is how many may be held at a time; default 4096.
	Most int64
	// Count is told of every request.
	Count func(Outcome, time.Duration)
	Log   *slog.Logger
}

// Gate answers drain hooks. Make one with New.
type Gate struct {
	o    Options
	held atomic.Int64
	// asked is when somebody asked last, in nanoseconds since 1970.
	asked atomic.Int64
}

// New makes a gate.
func New(o Options) *Gate {
	if o.Propagation == 0 {
		o.Propagation = 2 * time.Second
	}
	if o.Again == 0 {
		o.Again = time.Second
	}
	if o.Most == 0 {
		o.Most = 4096
	}
	return &Gate{o: o}
}

// Held is how many are held now.
func (g *Gate) Held() int64 { return g.held.Load() }

// Quiet is for how long nobody has asked and nobody is held.
func (g *Gate) Quiet() time.Duration {
	if g.Held() > 0 {
		return 0
	}
	return time.Since(time.Unix(0, g.asked.Load()))
}

// ServeHTTP holds one hook. The kubelet takes any answer for a success, so the status is
// for people: 404 for what isn't known, 503 for what can't be held, 504 for what was
// held in vain.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() { g.asked.Store(time.Now().UnixNano()) }()
	if again(w, r) {
		return
	}
	began := time.Now()
	defer g.held.Add(-1)
	outcome := Full
	if g.held.Add(1) <= g.o.Most {
		outcome = g.hold(r.Context(), r.PathValue("namespace"), r.PathValue("token"), r.PathValue("container"))
	}
	took := time.Since(began)
	g.o.Count(outcome, took)
	g.o.Log.Info("held", "namespace", r.PathValue("namespace"), "container", r.PathValue("container"), "outcome", outcome, "ms", took.Milliseconds())
	status := map[Outcome]int{Unknown: http.StatusNotFound, Full: http.StatusServiceUnavailable, Late: http.StatusGatewayTimeout}[outcome]
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(string(outcome) + "\n"))
}

func (g *Gate) hold(ctx context.Context, namespace, token, container string) Outcome {
	pod, ok := g.o.Index.PodByToken(namespace, token)
	id := pod.Containers[container]
	if !ok || id == "" {
		return Unknown
	}
	limit := time.Duration(admission.Hold(pod.Annotations, int64(pod.Grace/time.Second))) * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	changed, done := g.o.Index.Follow(pod.UID)
	defer done()
	again := time.NewTicker(g.o.Again)
	defer again.Stop()
	send := true
	for {
		now, there := g.o.Index.Pod(namespace, pod.Name, pod.UID)
		if !there {
			return Unbound // nobody is left to send anything to
		}
		if now.Marked(container, id) && now.Drained != nil && now.Drained.Status {
			return g.settle(ctx, &now)
		}
		marks := g.o.Index.Drain(&now, container, id)
		if len(marks) == 0 {
			return Unbound
		}
		if send {
			g.o.Send(marks)
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-changed:
			send = false
		case <-again.C:
			send = true
		}
	}
}

// settle waits for the data plane to follow, and for connections to end where the pod
// asks for that. How long ago the API confirmed is not asked: clocks differ.
func (g *Gate) settle(ctx context.Context, pod *model.Pod) Outcome {
	timer := time.NewTimer(g.o.Propagation + delay(pod))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx)
	case <-timer.C:
		return Drained
	}
}

// ended says why a context is over.
func ended(ctx context.Context) Outcome {
	if ctx.Err() == context.DeadlineExceeded {
		return Late
	}
	return Broken
}

// delay is what the pod asks for on top.
func delay(pod *model.Pod) time.Duration {
	n, err := strconv.ParseInt(strings.TrimSpace(pod.Annotations[model.DrainDelay]), 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}
