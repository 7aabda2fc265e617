package clb

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

func TestRegisterTargetsFailsInItsTask(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	a := addr("127.77.3.1:80")
	r.FailTargets(a.Addr())
	q := api.NewRegisterTargetsRequest()
	q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, []*api.Target{target(a, 1)}
	answer := must[*api.RegisterTargetsResponse](t)(r.client.RegisterTargets(q)).Response
	if status := r.done(answer.RequestId); status != 1 || *r.task(answer.RequestId).Message == "" {
		t.Errorf("an unattached interface fails the task and says why: status %d, %q", status, *r.task(answer.RequestId).Message)
	}
	if diff := cmp.Diff(map[string][]bound{}, r.targets(lb)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTasks(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Latencies = &Latencies{Task: Range{Min: 500 * time.Millisecond, Max: 500 * time.Millisecond}}
	})
	lb := r.instance()
	other := r.instance()
	l := r.listener(lb, "TCP", 8080)
	a := addr("127.77.3.1:80")

	q := api.NewRegisterTargetsRequest()
	q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, []*api.Target{target(a, 1)}
	answer := must[*api.RegisterTargetsResponse](t)(r.client.RegisterTargets(q)).Response
	if status := *r.task(answer.RequestId).Status; status != 2 {
		t.Fatalf("a task in progress has status %d, want 2", status)
	}
	if diff := cmp.Diff(map[string][]bound{}, r.targets(lb)); diff != "" {
		t.Errorf("before its task ends nothing is bound: -want +got:\n%s", diff)
	}
	bq := api.NewBatchRegisterTargetsRequest()
	bq.LoadBalancerId, bq.Targets = &lb, []*api.BatchTarget{batchTarget(l, addr("127.77.3.2:80"), 1)}
	_, err := r.client.BatchRegisterTargets(bq)
	if diff := cmp.Diff("FailedOperation.ResourceInOperating", code(err)); diff != "" {
		t.Errorf("one write at a time: -want +got:\n%s", diff)
	}
	r.listener(other, "TCP", 8080)

	if status := r.done(answer.RequestId); status != 0 {
		t.Errorf("task status %d", status)
	}
	if diff := cmp.Diff(map[string][]bound{l: {{a.String(), 1, ""}}}, r.targets(lb)); diff != "" {
		t.Errorf("afterwards it is bound: -want +got:\n%s", diff)
	}
}

func TestBusyAfterWrite(t *testing.T) {
	now := time.Now()
	r := newRig(t, func(o *Options) {
		o.Latencies = &Latencies{Busy: 300 * time.Millisecond}
		o.Now = func() time.Time { return now }
	})
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	try := func(a string) string {
		q := api.NewBatchRegisterTargetsRequest()
		q.LoadBalancerId, q.Targets = &lb, []*api.BatchTarget{batchTarget(l, addr(a), 1)}
		_, err := r.client.BatchRegisterTargets(q)
		return code(err)
	}
	var got []string
	for _, wait := range []time.Duration{299, 1, 0, 300} {
		now = now.Add(wait * time.Millisecond)
		got = append(got, try(fmt.Sprintf("127.77.3.%d:80", len(got)+1)))
	}
	const busy = "FailedOperation.ResourceInOperating"
	if diff := cmp.Diff([]string{busy, "", busy, ""}, got); diff != "" {
		t.Errorf("a write, then 300 ms of none: -want +got:\n%s", diff)
	}
}

func TestFaults(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	register := func(a netip.AddrPort) (*api.BatchRegisterTargetsResponse, error) {
		q := api.NewBatchRegisterTargetsRequest()
		q.LoadBalancerId, q.Targets = &lb, []*api.BatchTarget{batchTarget(l, a, 1)}
		return r.client.BatchRegisterTargets(q)
	}
	with := func(f *Fault) {
		remove := r.Intercept(func(_ context.Context, c Call) *Fault {
			if c.Action != "BatchRegisterTargets" || c.LoadBalancerID != lb || c.Targets != 1 || !c.Write {
				t.Errorf("the interceptor saw %+v", c)
			}
			return f
		})
		t.Cleanup(remove)
		_, err := register(addr("127.77.3.1:80"))
		remove()
		switch {
		case f.Error != nil && code(err) != f.Error.Code, f.Drop && code(err) != "ClientError.NetworkError", f.FailTask != "" && code(err) != "FailedOperation":
			t.Errorf("with %+v the client saw %v", f, err)
		}
	}
	with(&Fault{Error: failure("InternalError", "boom").(*tc3.Error)})
	with(&Fault{FailTask: "boom"})
	if n := len(r.targets(lb)[l]); n != 0 {
		t.Fatalf("failed calls bound %d targets", n)
	}
	with(&Fault{Drop: true})
	if n := len(r.targets(lb)[l]); n != 1 {
		t.Errorf("a dropped call bound %d targets, want 1", n)
	}
	var dropped int
	for _, c := range r.Calls() {
		if c.Dropped {
			dropped++
		}
	}
	if dropped != 1 {
		t.Errorf("the log has %d dropped calls, want 1", dropped)
	}

	started := time.Now()
	remove := r.Intercept(func(context.Context, Call) *Fault {
		return &Fault{Before: 20 * time.Millisecond, After: 20 * time.Millisecond}
	})
	must[*api.BatchRegisterTargetsResponse](t)(register(addr("127.77.3.2:80")))
	remove()
	if took := time.Since(started); took < 40*time.Millisecond {
		t.Errorf("a call delayed by 40 ms took %v", took)
	}
}

// TestClientGone holds a write until its sender has gone: it is applied all the same, as
// a request that has left a process survives it.
func TestClientGone(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	arrived, release := make(chan struct{}), make(chan struct{})
	remove := r.Intercept(func(_ context.Context, c Call) *Fault {
		if c.Write {
			close(arrived)
			<-release
			// Long enough for the server to notice that the connection is gone.
			return &Fault{Before: 50 * time.Millisecond}
		}
		return nil
	})
	defer remove()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	q := api.NewBatchRegisterTargetsRequest()
	q.LoadBalancerId, q.Targets = &lb, []*api.BatchTarget{batchTarget(l, addr("127.77.3.1:80"), 1)}
	if _, err := r.client.BatchRegisterTargetsWithContext(ctx, q); err == nil {
		t.Fatal("the client should have given up")
	}
	close(release)
	await(t, "the write", func() bool { return len(r.targets(lb)[l]) == 1 })
}
