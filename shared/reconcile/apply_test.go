package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// bench is an applier at an emulated CLB with two listeners.
type bench struct {
	*applier
	t      *testing.T
	server *emulator.Server
	a, b   string
}

func newBench(t *testing.T, set ...func(*emulator.Options)) *bench {
	t.Helper()
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "tester"})
	opts := emulator.Options{Store: store, Latencies: &emulator.Latencies{}, RequestRate: -1, Seed: 1}
	for _, f := range set {
		f(&opts)
	}
	server, err := emulator.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := clb.New(clb.Options{
		Region: "ap-test", Endpoint: "http://" + server.Endpoint(), Transport: transport,
		Credentials: func() (string, string, string) { return "id", "key", "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w := &World{CLB: client, Now: func() time.Time { return began }, Log: slog.New(slog.DiscardHandler)}
	p := w.begin(event.Request{Sync: event.Sync{Grant: map[string]float64{"*": 10_000}}})
	session := p.session(nil)
	ctx := t.Context()
	lb, err := session.CreateLoadBalancer(ctx, clb.LoadBalancerSpec{Name: "test", ClientToken: "t"})
	if err != nil {
		t.Fatal(err)
	}
	awaitReady(t, session, lb)
	ids, err := session.CreateListeners(ctx, lb, []model.WantedListener{{Name: "a", Protocol: model.TCP, Port: 80}, {Name: "b", Protocol: model.TCP, Port: 81}})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{applier: &applier{pass: p, session: session, lb: lb, failed: map[model.Key]bool{}}, t: t, server: server, a: ids[0], b: ids[1]}
}

func awaitReady(t *testing.T, session *clb.Session, lb string) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for {
		found, err := session.LoadBalancers(t.Context(), lb)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 1 && found[0].Ready {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("gave up waiting for the load balancer")
		}
	}
}

func (b *bench) target(listener string, i, weight int) model.Target {
	return model.Target{
		Place: model.Place{Listener: listener}, Address: model.Address{IP: fmt.Sprintf("127.77.%d.%d", i/200, i%200+1), Port: 8080},
		Weight: weight, Tag: fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", i),
	}
}

func (b *bench) targets(listener string, from, to, weight int) []model.Target {
	var out []model.Target
	for i := from; i < to; i++ {
		out = append(out, b.target(listener, i, weight))
	}
	return out
}

func (b *bench) bound() []string {
	b.t.Helper()
	all, err := b.session.Targets(b.t.Context(), b.lb, []string{b.a, b.b}, clb.TargetFilter{})
	if err != nil {
		b.t.Fatal(err)
	}
	return keys(all)
}

func keys(targets []model.Target) []string {
	out := []string{}
	for _, t := range targets {
		out = append(out, t.Key().String())
	}
	slices.Sort(out)
	return out
}

func (b *bench) refused() []string {
	var out []model.Target
	for _, r := range b.parked {
		out = append(out, r.target)
	}
	return keys(out)
}

// TestOneBadTarget: among 500 it is found and parked, and holds up nobody, whether
// batches are done when answered or are tasks.
func TestOneBadTarget(t *testing.T) {
	t.Parallel()
	for name, async := range map[string]bool{"Inline": false, "Task": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(o *emulator.Options) {
				q := emulator.DefaultQuotas()
				q.Targets = 1000
				o.Quotas, o.AsyncBatch = &q, async
			})
			good := append(b.targets(b.a, 0, 250, 10), b.targets(b.b, 250, 400, 10)...)
			good = append(good, b.targets(b.b, 401, 500, 10)...)
			bad := b.target(b.b, 400, 10)
			b.server.FailTargets(netip.MustParseAddr(bad.IP))
			b.run(t.Context(), []plan.Step{{Kind: plan.Bind, Targets: append(slices.Clone(good), bad)}})

			if diff := cmp.Diff(keys(good), b.bound()); diff != "" {
				t.Errorf("all others are bound: -want +got:\n%s", diff)
			}
			if diff := cmp.Diff([]string{bad.Key().String()}, b.refused()); diff != "" {
				t.Errorf("the one is parked: -want +got:\n%s", diff)
			}
			if n := b.session.Calls()["BatchRegisterTargets"]; n > 20 {
				t.Errorf("it is found by halving, got %d calls", n)
			}
			if b.reply.Failure != nil || b.stopped {
				t.Errorf("a parked target fails no pass: %+v, stopped %t", b.reply.Failure, b.stopped)
			}
		})
	}
}

// TestManyBadTargets: what is refused throughout is not asked for one by one.
func TestManyBadTargets(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bad := b.targets(b.a, 0, 100, 10)
	var ips []netip.Addr
	for _, x := range bad {
		ips = append(ips, netip.MustParseAddr(x.IP))
	}
	b.server.FailTargets(ips...)
	b.run(t.Context(), []plan.Step{{Kind: plan.Bind, Targets: bad}})
	if diff := cmp.Diff(keys(bad), b.refused()); diff != "" {
		t.Errorf("every one is parked: -want +got:\n%s", diff)
	}
	if n := b.session.Calls()["BatchRegisterTargets"]; n > 40 {
		t.Errorf("got %d calls", n)
	}
}

// TestQuotaShort: what is gone is unbound first, and those that serve get in
// before those that warm up.
func TestQuotaShort(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *emulator.Options) {
		q := emulator.DefaultQuotas()
		q.Targets = 4
		o.Quotas = &q
	})
	gone := b.targets(b.a, 0, 3, 10)
	if err := b.session.Bind(t.Context(), b.lb, gone); err != nil {
		t.Fatal(err)
	}
	var wanted []model.Wanted
	early, ready := b.targets(b.a, 10, 12, 0), b.targets(b.a, 20, 23, 10)
	for _, x := range append(slices.Clone(early), ready...) {
		wanted = append(wanted, model.Wanted{Target: x, Bind: true})
	}
	todo := plan.Targets{Places: []model.Place{{Listener: b.a}}, Wanted: wanted, Observed: gone}.Plan()
	b.run(t.Context(), todo.Steps)

	bound := b.bound()
	for _, x := range ready {
		if !slices.Contains(bound, x.Key().String()) {
			t.Errorf("%s serves and has no place, bound are %v", x.Key(), bound)
		}
	}
	for _, x := range gone {
		if slices.Contains(bound, x.Key().String()) {
			t.Errorf("%s is gone and still has a place", x.Key())
		}
	}
	if len(bound) != 4 || len(b.parked) != 1 {
		t.Errorf("the quota of 4 is used up and one is parked, got %v, parked %v", bound, b.refused())
	}
	for _, r := range b.parked {
		if r.target.Weight != 0 {
			t.Errorf("%s serves, yet it is the one that was left out", r.target.Key())
		}
	}
}

// TestGoneMeanwhile: what somebody else unbound is no failure of Unbind.
func TestGoneMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	there := b.targets(b.a, 0, 3, 10)
	if err := b.session.Bind(t.Context(), b.lb, there); err != nil {
		t.Fatal(err)
	}
	b.run(t.Context(), []plan.Step{{Kind: plan.Unbind, Targets: append(b.targets(b.a, 7, 8, 10), there...)}})
	if got := b.bound(); len(got) != 0 || len(b.parked) != 0 {
		t.Errorf("want nothing bound, nothing parked, got %v, %v", got, b.refused())
	}
}

// TestFailedStep: a target whose step failed is left alone by later ones, all
// others go on.
func TestFailedStep(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bad, good := b.target(b.a, 0, 10), b.target(b.b, 1, 10)
	b.server.FailTargets(netip.MustParseAddr(bad.IP))
	b.run(t.Context(), []plan.Step{{Kind: plan.Bind, Targets: []model.Target{bad, good}}, {Kind: plan.Raise, Targets: []model.Target{bad, good}}})
	if diff := cmp.Diff(keys([]model.Target{good}), b.bound()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(keys([]model.Target{bad}), b.refused()); diff != "" {
		t.Errorf("parked once: -want +got:\n%s", diff)
	}
}

// TestLeaseLost: nothing more is written, and somebody comes again for it.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.session = b.pass.session(func(context.Context) error { return errors.New("somebody else's") })
	b.run(t.Context(), []plan.Step{{Kind: plan.Bind, Targets: b.targets(b.a, 0, 2, 10)}, {Kind: plan.Raise, Targets: b.targets(b.b, 5, 7, 10)}})
	if !b.stopped || b.reply.Failure == nil || b.reply.Failure.Kind != fault.Conflict || b.reply.RequeueAfterMillis == 0 {
		t.Errorf("want it stopped and asked for again, got stopped %t, %+v", b.stopped, b.reply)
	}
	if len(b.session.Calls()) != 0 {
		t.Errorf("nothing is sent, got %v", b.session.Calls())
	}
}

// TestHandOver: when its time is up a pass starts no other batch.
func TestHandOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.pass.writing = b.Now().Add(-handOver)
	b.run(t.Context(), []plan.Step{{Kind: plan.Bind, Targets: b.targets(b.a, 0, 2, 10)}})
	if !b.reply.Continue || len(b.bound()) != 0 {
		t.Errorf("want to be continued with nothing done, got %+v, %v", b.reply, b.bound())
	}
}

func TestSeparable(t *testing.T) {
	b := newBench(t)
	gone := b.session.Bind(t.Context(), "lb-00000000", b.targets(b.a, 0, 1, 10))
	if separable(gone) {
		t.Errorf("a load balancer that is gone is gone for all targets: %v", gone)
	}
	dup := b.session.Bind(t.Context(), b.lb, []model.Target{b.target("lbl-00000000", 0, 10)})
	if !separable(dup) {
		t.Errorf("a listener that is gone is gone for its targets alone: %v", dup)
	}
	for _, err := range []error{nil, errors.New("any"), fault.New(fault.Transient, "op", nil), fault.New(fault.Conflict, "op", errors.New("the lease is lost"))} {
		if separable(err) {
			t.Errorf("not about one target: %v", err)
		}
	}
}

func TestByListener(t *testing.T) {
	b := &bench{t: t}
	got := byListener([]model.Target{b.target("l2", 1, 0), b.target("l1", 2, 0), b.target("l2", 3, 0)})
	want := [][]model.Target{{b.target("l2", 1, 0), b.target("l2", 3, 0)}, {b.target("l1", 2, 0)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the first target's listener first, each in its own order: -want +got:\n%s", diff)
	}
}

func TestSameCall(t *testing.T) {
	ten := 10
	listener := func(protocol model.Protocol, port int, interval *int) model.WantedListener {
		return model.WantedListener{Protocol: protocol, Port: port, Settings: model.Settings{Interval: interval}}
	}
	var many []model.WantedListener
	for i := range maxListeners + 1 {
		many = append(many, listener(model.TCP, i+1, nil))
	}
	cases := map[string]struct {
		reason string
		args   []model.WantedListener
		want   []int
	}{
		"None":      {reason: "nothing is no call"},
		"Protocols": {reason: "a call has one protocol", args: []model.WantedListener{listener(model.TCP, 1, nil), listener(model.UDP, 1, nil), listener(model.TCP, 2, nil)}, want: []int{2, 1}},
		"Settings":  {reason: "and one set of settings", args: []model.WantedListener{listener(model.TCP, 1, nil), listener(model.TCP, 2, &ten)}, want: []int{1, 1}},
		"Many":      {reason: "and a limit", args: many, want: []int{maxListeners, 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []int
			for _, g := range sameCall(tc.args) {
				got = append(got, len(g))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSome(t *testing.T) {
	if got := some([]string{"a", "b"}); got != "a, b" {
		t.Errorf("few are all named, got %q", got)
	}
	if got := some(strings.Split("abcdefg", "")); got != "a, b, c, d, e and 2 more" {
		t.Errorf("of many a few are, got %q", got)
	}
}

func TestNamespacesOf(t *testing.T) {
	got := namespacesOf(event.Sync{Namespaces: []string{"b"}, Objects: []event.Ref{{Namespace: "a", Name: "s"}}, Pods: []event.Pod{{Namespace: "b"}, {Namespace: "c"}}})
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Errorf("each once: -want +got:\n%s", diff)
	}
}

func TestAddressesOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		lb     model.LoadBalancer
		want   []string
	}{
		"VIP":       {reason: "an address", lb: model.LoadBalancer{VIPs: []string{"1.2.3.4"}, Domain: "x.example.com"}, want: []string{"1.2.3.4"}},
		"Domain":    {reason: "a domain-type CLB has none", lb: model.LoadBalancer{Domain: "x.example.com"}, want: []string{"x.example.com"}},
		"IPv6":      {reason: "both", lb: model.LoadBalancer{VIPs: []string{"1.2.3.4"}, IPv6: "2001:db8::1"}, want: []string{"1.2.3.4", "2001:db8::1"}},
		"IPv6Twice": {reason: "each once", lb: model.LoadBalancer{VIPs: []string{"2001:db8::1"}, IPv6: "2001:db8::1"}, want: []string{"2001:db8::1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, addressesOf(&tc.lb)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLoadBalancerName(t *testing.T) {
	svc := &model.Front{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("s", 63)}
	if n := len(loadBalancerName("cls-1", svc)); n != 80 {
		t.Errorf("at most 80 characters, got %d", n)
	}
}
