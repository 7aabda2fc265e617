package clb

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

func TestBatchPartialFailure(t *testing.T) {
	r := newRig(t, func(o *Options) { q := DefaultQuotas(); q.Targets = 3; o.Quotas = &q })
	lb := r.instance()
	l, m := r.listener(lb, "TCP", 8080), r.listener(lb, "TCP", 8081)
	a, b, c, d := addr("127.77.3.1:80"), addr("127.77.3.2:80"), addr("127.77.3.3:80"), addr("127.77.3.4:80")
	register := func(targets ...*api.BatchTarget) []string {
		t.Helper()
		q := api.NewBatchRegisterTargetsRequest()
		q.LoadBalancerId, q.Targets = &lb, targets
		answer := must[*api.BatchRegisterTargetsResponse](t)(r.client.BatchRegisterTargets(q)).Response
		if len(answer.FailListenerIdSet) > 0 && *answer.Message == "" {
			t.Error("a failure without a message")
		}
		return deref(answer.FailListenerIdSet)
	}
	deregister := func(targets ...*api.BatchTarget) []string {
		t.Helper()
		q := api.NewBatchDeregisterTargetsRequest()
		q.LoadBalancerId, q.Targets = &lb, targets
		return deref(must[*api.BatchDeregisterTargetsResponse](t)(r.client.BatchDeregisterTargets(q)).Response.FailListenerIdSet)
	}
	steps := []struct {
		reason string
		before func()
		do     func() []string
		want   []string
		left   map[string][]bound
	}{
		{
			reason: "an unattached interface fails its listener whole, and no other",
			before: func() { r.FailTargets(b.Addr()) },
			do: func() []string {
				return register(batchTarget(l, a, 1), batchTarget(l, b, 1), batchTarget(m, c, 1))
			},
			want: []string{l},
			left: map[string][]bound{m: {{c.String(), 1, ""}}},
		},
		{
			reason: "once it is attached it goes",
			before: func() { r.FailTargets() },
			do:     func() []string { return register(batchTarget(l, a, 1), batchTarget(l, b, 1)) },
			want:   []string{},
			left:   map[string][]bound{l: {{a.String(), 1, ""}, {b.String(), 1, ""}}, m: {{c.String(), 1, ""}}},
		},
		{
			reason: "so does the quota fail by listener",
			do: func() []string {
				return register(batchTarget(l, c, 1), batchTarget(l, d, 1), batchTarget(m, d, 1))
			},
			want: []string{l},
			left: map[string][]bound{l: {{a.String(), 1, ""}, {b.String(), 1, ""}}, m: {{c.String(), 1, ""}, {d.String(), 1, ""}}},
		},
		{
			reason: "and a duplicate",
			do:     func() []string { return register(batchTarget(l, a, 5)) },
			want:   []string{l},
			left:   map[string][]bound{l: {{a.String(), 1, ""}, {b.String(), 1, ""}}, m: {{c.String(), 1, ""}, {d.String(), 1, ""}}},
		},
		{
			reason: "unbinding what isn't bound fails its listener whole",
			do: func() []string {
				return deregister(batchTarget(l, a, 1), batchTarget(l, d, 1), batchTarget(m, d, 1))
			},
			want: []string{l},
			left: map[string][]bound{l: {{a.String(), 1, ""}, {b.String(), 1, ""}}, m: {{c.String(), 1, ""}}},
		},
		{
			reason: "unattached interfaces can be unbound",
			before: func() { r.FailTargets(a.Addr()) },
			do:     func() []string { return deregister(batchTarget(l, a, 1), batchTarget(l, b, 1), batchTarget(m, c, 1)) },
			want:   []string{},
			left:   map[string][]bound{},
		},
	}
	for _, step := range steps {
		if step.before != nil {
			step.before()
		}
		if diff := cmp.Diff(step.want, step.do()); diff != "" {
			t.Errorf("%s: FailListenerIdSet: -want +got:\n%s", step.reason, diff)
		}
		if diff := cmp.Diff(step.left, r.targets(lb)); diff != "" {
			t.Errorf("%s: targets: -want +got:\n%s", step.reason, diff)
		}
	}
}

func TestRebind(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Rebind = true })
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	a := addr("127.77.3.1:80")
	r.bind(lb, tagged(batchTarget(l, a, 1), "x"))
	r.bind(lb, tagged(batchTarget(l, a, 2), "y"))
	if diff := cmp.Diff(map[string][]bound{l: {{a.String(), 2, "y"}}}, r.targets(lb)); diff != "" {
		t.Errorf("registering again changes weight and tag where it is allowed: -want +got:\n%s", diff)
	}
}

func TestUniqueBackends(t *testing.T) {
	for name, unique := range map[string]bool{"Strict": true, "Lenient": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.UniqueBackends = unique })
			lb := r.instance()
			l, m, u := r.listener(lb, "TCP", 8080), r.listener(lb, "TCP", 8081), r.listener(lb, "UDP", 8080)
			a := addr("127.77.3.1:80")
			r.bind(lb, batchTarget(l, a, 1), batchTarget(u, a, 1))
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId, q.Targets = &lb, []*api.BatchTarget{batchTarget(m, a, 1)}
			failed := must[*api.BatchRegisterTargetsResponse](t)(r.client.BatchRegisterTargets(q)).Response.FailListenerIdSet
			if got := len(failed) == 1; got != unique {
				t.Errorf("one backend at two TCP listeners was refused: %v, want %v", got, unique)
			}
		})
	}
}

func TestAsyncBatch(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.AsyncBatch = true
		o.Latencies = &Latencies{Task: Range{Min: 300 * time.Millisecond, Max: 300 * time.Millisecond}}
	})
	lb := r.instance()
	l, m := r.listener(lb, "TCP", 8080), r.listener(lb, "TCP", 8081)
	a, b := addr("127.77.3.1:80"), addr("127.77.3.2:80")
	r.FailTargets(b.Addr())
	q := api.NewBatchRegisterTargetsRequest()
	q.LoadBalancerId, q.Targets = &lb, []*api.BatchTarget{batchTarget(l, a, 1), batchTarget(m, b, 1)}
	answer := must[*api.BatchRegisterTargetsResponse](t)(r.client.BatchRegisterTargets(q)).Response
	if len(answer.FailListenerIdSet) != 0 || *r.task(answer.RequestId).Status != 2 || len(r.targets(lb)) != 0 {
		t.Error("an asynchronous batch is a task: nothing failed and nothing bound yet")
	}
	if status := r.done(answer.RequestId); status != 1 {
		t.Errorf("a listener failed, so the task has status %d, want 1", status)
	}
	if diff := cmp.Diff(map[string][]bound{l: {{a.String(), 1, ""}}}, r.targets(lb)); diff != "" {
		t.Errorf("the other listener succeeded: -want +got:\n%s", diff)
	}
}
