// Package demo shows the main jobs: Services and Ingresses bound straight to their
// pods, each pod Ready only when the CLB has found it healthy, on a real control
// plane with the real forwarder and the packaged functions. A demo reports what it
// measured and fails if any of it is not so.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
)

// namespace is where the demos' objects are.
const namespace = "default"

// Options of a demo.
type Options struct {
	Stack stack.Options
	// Out is the folder for the report.
	Out string
	// W is where people look.
	W io.Writer
}

// show is a demo under way: what all of them need.
type show struct {
	o      Options
	s      *stack.Stack
	client kubernetes.Interface
	// short is a pod's name in live lines, of which a quiet show has none.
	short func(*corev1.Pod) string
	quiet bool
	board *board
	began time.Time
	// looked has, for each time that the CLB's targets were compared with the pods,
	// whether they came to be the same.
	looked []bool
}

// play is what one demo shows.
type play struct {
	// file is the report's name.
	file string
	acts []act
	// report gives what was measured, up to an act that failed.
	report func() report
}

// act is a part of a play, under a title.
type act struct {
	title string
	run   func(context.Context) error
}

// perform starts everything, runs a play and ends everything that it started.
func (d *show) perform(ctx context.Context, p play) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute) // the first build included
	defer cancel()
	d.began = time.Now()
	d.say("starting: a Kubernetes control plane, nodes, a CLB, SCF, the functions, the forwarder")
	if d.s, err = stack.Start(ctx, d.o.Stack); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.s.Close()) }()
	if d.client, err = kubernetes.NewForConfig(d.s.Cluster.RESTConfig()); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	d.say("everything is up; latencies of the emulated CLB: %s", latencies(d.s.CLB.Latencies()))

	d.board = newBoard(d)
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var watchers sync.WaitGroup
	watchers.Go(func() { d.board.watchPods(watching) })
	watchers.Go(func() { d.board.watchTargets(watching) })
	defer watchers.Wait()
	defer stopWatching()

	for _, act := range p.acts {
		d.say("")
		d.say("── %s", act.title)
		if err := act.run(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", act.title, err), d.write(p.file, p.report()))
		}
	}
	return errors.Join(d.judge(p.report()), d.write(p.file, p.report()))
}

func (d *show) say(format string, args ...any) { fmt.Fprintf(d.o.W, format+"\n", args...) }

// elapsed is the time since the demo began, in seconds.
func (d *show) elapsed(at time.Time) float64 { return at.Sub(d.began).Seconds() }

func latencies(l clb.Latencies) string {
	return fmt.Sprintf("API %s, task %s-%s, busy after a write %s, propagation %s-%s, CreateLoadBalancer %s; cold start of a function %s",
		l.API, l.Task.Min, l.Task.Max, l.Busy, l.Propagation.Min, l.Propagation.Max, l.Create, scf.DefaultColdStart)
}
