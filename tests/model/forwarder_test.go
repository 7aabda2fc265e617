package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/functions/door"
	"github.com/clb-direct/clb-direct/infra/forwarder/drain"
	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/queue"
	"github.com/clb-direct/clb-direct/infra/forwarder/relay"
	"github.com/clb-direct/clb-direct/infra/forwarder/transport"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
)

// run is one invocation of a function.
type run struct {
	name     string
	function event.Function
	payload  []byte
	attempt  string
	// dead: nothing that it asks for happens any more.
	dead   atomic.Bool
	cancel context.CancelFunc
	over   bool
	// reply goes to the forwarder that waits for it, if one does.
	reply func(event.Reply, error)
}

type runKey struct{}

// limit is the functions' time limit, patience the forwarder's.
const (
	limit    = 30 * time.Second
	patience = 40 * time.Second
)

// begin starts an invocation.
func (w *world) begin(r *run) {
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), runKey{}, r), limit)
	r.cancel = cancel
	w.law.running[r] = true
	if d, err := event.Decode(r.payload, event.Receiver{Function: r.function, Cluster: clusterID}, time.Now()); err == nil {
		r.attempt = d.Requests[0].Sync.Attempt
	}
	d := &door.Door{Function: r.function, Cluster: clusterID, Handle: w.handle(r.function), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	go func() {
		answer, err := d.Invoke(ctx, r.payload)
		cancel()
		w.arrive(&call{name: r.name + ": end", fire: func() { w.end(r, answer, err) }})
	}()
}

func (w *world) handle(f event.Function) func(context.Context, event.Request) event.Reply {
	return map[event.Function]func(context.Context, event.Request) event.Reply{
		event.Frontend: w.functions.Frontend, event.Backends: w.functions.Backends, event.Readiness: w.functions.Readiness,
	}[f]
}

// end brings the answer home, or loses it.
func (w *world) end(r *run, answer []byte, err error) {
	delete(w.law.running, r)
	if r.over { // it was killed, and that has been told
		return
	}
	r.over = true
	if err != nil {
		w.law.broken("%s: %v", r.name, err)
		return
	}
	if w.faulty() && w.chance(3) {
		w.note("%s: its event will come again", r.name)
		w.late = append(w.late, &run{function: r.function, payload: r.payload})
	}
	if w.faulty() && w.chance(3) {
		w.note("%s: its reply is lost", r.name)
		r.reply(event.Reply{}, errLost)
		return
	}
	replies, err := event.ParseReplies(answer)
	if err != nil || len(replies) != 1 {
		w.law.broken("%s: %d replies, %v", r.name, len(replies), err)
		return
	}
	if f := replies[0].Failure; f != nil {
		w.note("%s: failure %s: %s", r.name, f.Kind, f.Message)
	}
	r.reply(replies[0], nil)
}

// kill ends an invocation as the platform does: at whatever call it is.
func (w *world) kill(r *run, told bool) {
	w.note("%s: killed, told %t", r.name, told)
	r.dead.Store(true)
	r.over = true
	r.cancel()
	if told {
		r.reply(event.Reply{}, &transport.Failure{Code: "439", Ended: true, Err: errLost})
		return
	}
	r.reply(event.Reply{}, errLost)
}

// replica is one of the forwarder.
type replica struct {
	w      *world
	name   string
	index  *index.Index
	relay  *relay.Relay
	gate   *drain.Gate
	ctx    context.Context
	cancel context.CancelFunc
	// follow ends leading.
	follow context.CancelFunc
	// feed is what its watch has yet to tell.
	feed []func()
	held int
}

func (w *world) newReplica() *replica {
	w.created++
	r := &replica{w: w, name: "replica-" + strconv.Itoa(w.created), index: index.New(policy)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.relay = relay.New(relay.Options{Index: r.index, Transport: r, Timeout: patience, Log: slog.New(slog.DiscardHandler),
		Queue: queue.Options{Random: func() float64 { return 0.5 }}})
	r.gate = drain.New(drain.Options{Index: r.index, Send: r.relay.Drain, Log: slog.New(slog.DiscardHandler), Count: func(drain.Outcome, time.Duration) {}})
	for _, resource := range []string{"services", "pods"} {
		for _, key := range sortedKeys(w.api.objects[resource]) {
			r.set(resource, w.api.objects[resource][key])
		}
	}
	go r.relay.RunDrains(r.ctx)
	w.replicas = append(w.replicas, r)
	return r
}

func (r *replica) lead() {
	ctx, cancel := context.WithCancel(r.ctx)
	r.follow = cancel
	go r.relay.Lead(ctx)
}

// set has the index told of an object, as package watch does.
func (r *replica) set(resource string, o object) {
	switch o := o.DeepCopyObject().(type) {
	case *corev1.Pod:
		r.relay.Offer(r.index.SetPod(kube.PodFrom(kube.TrimPod(o))))
	case *corev1.Service:
		r.relay.Offer(r.index.SetService(kube.ServiceFrom(o)))
	}
}

func (r *replica) drop(o object) {
	switch o := o.DeepCopyObject().(type) {
	case *corev1.Pod:
		r.relay.Offer(r.index.DeletePod(kube.PodFrom(kube.TrimPod(o))))
	case *corev1.Service:
		r.relay.Offer(r.index.DeleteService(o.Namespace, o.Name, o.ResourceVersion))
	}
}

// Send is the platform: the invocation begins when the scheduler says so.
func (r *replica) Send(ctx context.Context, f event.Function, payload []byte) (event.Reply, error) {
	type answer struct {
		reply event.Reply
		err   error
	}
	got := make(chan answer, 1)
	v := &run{function: f, payload: payload, reply: func(reply event.Reply, err error) { got <- answer{reply, err} }}
	r.w.arrive(&call{name: r.name + " sends " + string(f), fire: func() {
		if ctx.Err() != nil {
			return
		}
		r.w.runs++
		v.name = fmt.Sprintf("%s-%d", f, r.w.runs)
		r.w.note("%s begins for %s: %s", v.name, r.name, payload)
		r.w.begin(v)
	}})
	select {
	case a := <-got:
		return a.reply, a.err
	case <-ctx.Done():
		return event.Reply{}, ctx.Err()
	}
}

// ask is a kubelet's question. then is told the outcome when it is answered; broken
// that nobody answered.
func (r *replica) ask(ctx context.Context, path string, then func(status int, broken bool)) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.ctx, cancel)
	r.held++
	go func() {
		defer stop()
		defer cancel()
		mux := http.NewServeMux()
		mux.Handle(drain.Pattern, r.gate)
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx))
		broken := errors.Is(ctx.Err(), context.Canceled) || ctx.Err() != nil
		r.w.arrive(&call{name: path + " answered", fire: func() { r.held--; then(rec.Code, broken) }})
	}()
}
