package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
)

// newWeight is what the demo gives a pod, so that a pass has something to raise
// after what it has to bind.
const newWeight = 20

// invoked is the SCF emulator's hook.
func (d *serviceShow) invoked(ctx context.Context, inv scf.Invocation) {
	d.mu.Lock()
	f := d.onInvoke
	d.mu.Unlock()
	if f != nil {
		f(ctx, inv)
	}
}

func (d *serviceShow) hook(f func(context.Context, scf.Invocation)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onInvoke = f
}

// kill has one backends pass bind new pods and raise the weight of an old one, and
// kills its process when the first of the two writes has taken effect. To have
// both in one pass, an earlier event is held back while the changes come in.
func (d *serviceShow) kill(ctx context.Context) error {
	uids := sortedKeys(d.board.names())
	names := d.board.names()
	first, raised := names[uids[0]], names[uids[1]]

	held := make(chan string, 1)
	release := make(chan struct{})
	attempts := make(chan string, 64)
	var holding atomic.Bool
	holding.Store(true)
	over := make(chan struct{})
	defer close(over)
	d.hook(func(ctx context.Context, inv scf.Invocation) {
		switch inv.Key {
		case "resync": // it would make the second write before the first is killed
			select {
			case <-over:
			case <-ctx.Done():
			}
			return
		case "backends":
		default:
			return
		}
		if holding.CompareAndSwap(true, false) {
			held <- inv.RequestID
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		var e struct {
			Data struct {
				Attempt string `json:"attempt"`
			} `json:"data"`
		}
		if body(inv.Payload, &e) == nil {
			attempts <- inv.RequestID + " " + e.Data.Attempt
		}
	})
	defer d.hook(nil)
	if err := d.weigh(ctx, first); err != nil {
		return err
	}
	select {
	case <-held:
	case <-time.After(20 * time.Second):
		return fmt.Errorf("no event for the backends came")
	}
	if err := d.weigh(ctx, raised); err != nil {
		return err
	}
	if err := d.scale(ctx, deployment, 6); err != nil {
		return err
	}
	if err := d.await(ctx, "4 new pods with addresses", func() (bool, string) {
		ips := slices.DeleteFunc(d.board.ips(), func(ip string) bool { return ip == "" })
		return len(ips) == 6, fmt.Sprintf("%d pods have one", len(ips))
	}); err != nil {
		return err
	}

	// A call that meets the CLB busy, as resync may have written to it, is made again: the
	// last is the one that took effect.
	var last atomic.Pointer[clb.Call]
	unhook := d.s.CLB.Intercept(func(_ context.Context, c clb.Call) *clb.Fault {
		if c.Action != "BatchRegisterTargets" || !strings.Contains(c.Principal, "backends") {
			return nil
		}
		last.Store(&c)
		return &clb.Fault{After: 2 * time.Second} // the answer never arrives
	})
	close(release)
	err := d.await(ctx, "the first write to take effect", func() (bool, string) {
		n := len(d.targetIPs())
		return n == 6 && last.Load() != nil, fmt.Sprintf("%d targets", n)
	})
	unhook()
	if err != nil {
		return err
	}
	return d.strike(ctx, *last.Load(), attempts, raised)
}

// strike kills the process behind a call and follows what comes of it.
func (d *serviceShow) strike(ctx context.Context, call clb.Call, attempts chan string, raised string) error {
	request := call.Principal[strings.LastIndexByte(call.Principal, '/')+1:]
	holder := d.leaseHolder(ctx, call.LoadBalancerID)
	at := time.Now()
	if ended := d.s.SCF.Kill(request); !slices.Contains(ended, request) {
		return fmt.Errorf("killing the process of request %s: it had ended", request)
	}
	k := Kill{LeaseHeld: holder != "" && holder == attemptOf(attempts, request)}
	d.say("  %6.1fs  killed the backends function (request %s) after %s was applied and before it was answered; it held the Lease: %v",
		d.elapsed(at), request, call.Action, k.LeaseHeld)
	weight := func() int {
		for _, t := range d.targets() {
			if d.board.names()[t.Tag] == raised {
				return t.Weight
			}
		}
		return -1
	}
	if before := weight(); before == newWeight {
		return fmt.Errorf("the second write had been made before the kill")
	}
	if err := d.await(ctx, "the next pass to make the second write", func() (bool, string) {
		w := weight()
		return w == newWeight, fmt.Sprintf("%s has weight %d", raised, w)
	}); err != nil {
		return err
	}
	recovered := time.Now()
	k.RecoveredMS = recovered.Sub(at).Milliseconds()
	d.result.Kill = k
	if err := d.settle(ctx, 6); err != nil {
		return err
	}
	for _, c := range d.s.CLB.Calls() {
		switch {
		case !c.Write || !strings.Contains(c.Principal, "backends") || c.Code != "":
		case strings.HasSuffix(c.Principal, "/"+request):
			d.result.Kill.WritesBefore++
		case c.Time.After(at) && c.Time.Before(recovered):
			d.result.Kill.WritesAfter++
		}
	}
	d.say("  recovered in %d ms: %d write by the killed attempt, %d by its successor, which took the Lease at once", k.RecoveredMS, d.result.Kill.WritesBefore, d.result.Kill.WritesAfter)
	return nil
}

// weigh gives a pod a weight of its own.
func (d *serviceShow) weigh(ctx context.Context, pod string) error {
	_, err := d.kubectl(ctx, "annotate", "--overwrite", "pod", pod, fmt.Sprintf("service.cloud.tencent.com/custom-weight=%d", newWeight))
	return err
}

// leaseHolder is who holds a CLB's Lease, "" if nobody does or it is over.
func (d *serviceShow) leaseHolder(ctx context.Context, lb string) string {
	l, err := d.client.CoordinationV1().Leases(stack.Namespace).Get(ctx, "clb-direct-"+lb, metav1.GetOptions{})
	if err != nil || l.Spec.HolderIdentity == nil || l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return ""
	}
	if time.Since(l.Spec.RenewTime.Time) > time.Duration(*l.Spec.LeaseDurationSeconds)*time.Second {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// attemptOf finds the attempt id of an SCF request among those seen.
func attemptOf(seen chan string, request string) string {
	for {
		select {
		case pair := <-seen:
			if id, attempt, _ := strings.Cut(pair, " "); id == request {
				return attempt
			}
		default:
			return ""
		}
	}
}

// body reads the event of a payload: bare, or in a function URL envelope.
func body(payload []byte, into any) error {
	var envelope struct {
		Body *string `json:"body"`
	}
	if err := json.Unmarshal(payload, &envelope); err != nil {
		return err
	}
	if envelope.Body != nil {
		payload = []byte(*envelope.Body)
	}
	return json.Unmarshal(payload, into)
}
