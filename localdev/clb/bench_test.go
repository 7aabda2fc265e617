package clb

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// many is a server with n targets at one listener, their health checks off.
func many(b *testing.B, n int) (*Server, string, string) {
	b.Helper()
	quotas := DefaultQuotas()
	quotas.Targets = 2 * n
	s, err := Start(b.Context(), Options{Store: &tc3.Store{}, Latencies: &Latencies{}, Quotas: &quotas, RequestRate: -1, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	ids, _, err := s.backend.CreateLoadBalancers(backend.Op{ID: "a"}, backend.NewLoadBalancers{Type: "OPEN", Number: 1})
	if err != nil {
		b.Fatal(err)
	}
	settings := defaultSettings("TCP")
	settings.HealthCheck.On = false
	listeners, err := s.backend.CreateListeners(backend.Op{ID: "b"}, ids[0], []backend.NewListener{{Protocol: "TCP", Port: 8080, Settings: settings}})
	if err != nil {
		b.Fatal(err)
	}
	for first := 0; first < n; first += maxBatch {
		if _, err := s.batchRegisterTargets(backend.Op{ID: "c"}, batchOf(ids[0], listeners[0], first)); err != nil {
			b.Fatal(err)
		}
	}
	return s, ids[0], listeners[0]
}

// batchOf is a full batch of targets, counted from first.
func batchOf(lb, listener string, first int) *api.BatchRegisterTargetsRequestParams {
	q := &api.BatchRegisterTargetsRequestParams{LoadBalancerId: &lb}
	for i := range maxBatch {
		n := first + i
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 90, byte(n >> 8), byte(n)}), 80)
		q.Targets = append(q.Targets, batchTarget(listener, addr, 10))
	}
	return q
}

// BenchmarkBatchRegister binds 500 targets more and unbinds them again.
func BenchmarkBatchRegister(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, lb, l := many(b, n)
			q := batchOf(lb, l, n)
			for b.Loop() {
				if _, err := s.batchRegisterTargets(backend.Op{ID: "d"}, q); err != nil {
					b.Fatal(err)
				}
				if _, err := s.batchDeregisterTargets(backend.Op{ID: "e"}, (*api.BatchDeregisterTargetsRequestParams)(q)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDescribe is the two descriptions that polling passes make, with the answer
// encoded as it is sent.
func BenchmarkDescribe(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		s, lb, _ := many(b, n)
		b.Run(fmt.Sprintf("targets/%d", n), func(b *testing.B) {
			for b.Loop() {
				answer, err := s.describeTargets(&api.DescribeTargetsRequestParams{LoadBalancerId: &lb})
				if err != nil {
					b.Fatal(err)
				}
				tc3.WriteResult(httptest.NewRecorder(), "id", answer)
			}
		})
		b.Run(fmt.Sprintf("health/%d", n), func(b *testing.B) {
			for b.Loop() {
				answer, err := s.describeTargetHealth(&api.DescribeTargetHealthRequestParams{LoadBalancerIds: common.StringPtrs([]string{lb})})
				if err != nil {
					b.Fatal(err)
				}
				tc3.WriteResult(httptest.NewRecorder(), "id", answer)
			}
		})
	}
}

// BenchmarkRules is 10,000 bindings at 200 rules: made in 20 batches from nothing, each
// reaching the data plane at once, and described.
func BenchmarkRules(b *testing.B) {
	const rules, each = 200, 50
	quotas := DefaultQuotas()
	quotas.Rules = rules
	s, err := Start(b.Context(), Options{Store: &tc3.Store{}, Latencies: &Latencies{}, Quotas: &quotas, RequestRate: -1, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	ids, _, err := s.backend.CreateLoadBalancers(backend.Op{ID: "a"}, backend.NewLoadBalancers{Type: "OPEN", Number: 1})
	if err != nil {
		b.Fatal(err)
	}
	lb := ids[0]
	fill := func() {
		listeners, err := s.backend.CreateListeners(backend.Op{ID: "b"}, lb, []backend.NewListener{{Protocol: "HTTP", Port: 8080}})
		if err != nil {
			b.Fatal(err)
		}
		q := &api.CreateRuleRequestParams{LoadBalancerId: &lb, ListenerId: &listeners[0]}
		for i := range rules {
			in := ruleInput("a.example.com", fmt.Sprintf("/%d", i))
			in.HealthCheck = &api.HealthCheck{HealthSwitch: common.Int64Ptr(0)}
			q.Rules = append(q.Rules, in)
		}
		made, err := s.createRule(backend.Op{ID: "c"}, q)
		if err != nil {
			b.Fatal(err)
		}
		var targets []*api.BatchTarget
		for _, location := range made.LocationIds {
			for i := range each {
				addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 90, 0, byte(i)}), 80)
				targets = append(targets, at(batchTarget(listeners[0], addr, 10), *location))
			}
		}
		for first := 0; first < len(targets); first += maxBatch {
			answer, err := s.batchRegisterTargets(backend.Op{ID: "d"}, &api.BatchRegisterTargetsRequestParams{LoadBalancerId: &lb, Targets: targets[first : first+maxBatch]})
			if err != nil || len(answer.FailListenerIdSet) > 0 {
				b.Fatal(err, *answer.Message)
			}
		}
	}
	b.Run("bind", func(b *testing.B) {
		for b.Loop() {
			fill()
			if err := s.backend.DeleteListeners(backend.Op{ID: "e"}, lb, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	fill()
	b.Run("targets", func(b *testing.B) {
		for b.Loop() {
			answer, err := s.describeTargets(&api.DescribeTargetsRequestParams{LoadBalancerId: &lb})
			if err != nil {
				b.Fatal(err)
			}
			tc3.WriteResult(httptest.NewRecorder(), "id", answer)
		}
	})
	b.Run("health", func(b *testing.B) {
		for b.Loop() {
			answer, err := s.describeTargetHealth(&api.DescribeTargetHealthRequestParams{LoadBalancerIds: common.StringPtrs([]string{lb})})
			if err != nil {
				b.Fatal(err)
			}
			tc3.WriteResult(httptest.NewRecorder(), "id", answer)
		}
	})
}
