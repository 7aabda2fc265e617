package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/figure"
)

// way is a pod's way in order.
func way(name string) Pod {
	return Pod{Name: name, BoundMS: 10, ContainersReadyMS: 20, AliveMS: 30, ReadyMS: 40}
}

// wrongs judges a report and gives the names of what is wrong.
func wrongs(r report) []string {
	var shown bytes.Buffer
	v := verdicts{w: &shown}
	r.judge(&v)
	names := []string{}
	for _, err := range v.wrong {
		name, _, _ := strings.Cut(err.Error(), ": no")
		names = append(names, name)
	}
	return names
}

func goodService() *ServiceReport {
	return &ServiceReport{
		Pods:              []Pod{way("a"), way("b"), way("c")},
		Requests:          Requests{Sent: 9, OK: 9, PerPod: map[string]int{"a": 9}},
		ClientIPPreserved: true,
		TargetsEqualPods:  true,
		Kill:              Kill{LeaseHeld: true, WritesBefore: 1, WritesAfter: 1, RecoveredMS: 1},
		LeftBehind:        &LeftBehind{},
	}
}

func TestServiceReportJudges(t *testing.T) {
	const (
		requests  = "every request answered"
		order     = "no pod Ready before the CLB found it healthy"
		kill      = "killed between two writes, under the Lease"
		recovered = "recovered without waiting for the Lease to expire"
		left      = "nothing left behind"
	)
	cases := map[string]struct {
		reason string
		change func(*ServiceReport)
		want   []string
	}{
		"Good":      {"nothing is wrong", func(*ServiceReport) {}, []string{}},
		"Failed":    {"a request failed", func(r *ServiceReport) { r.Requests.OK, r.Requests.Failed = 8, 1 }, []string{requests}},
		"NoneSent":  {"no request is no proof", func(r *ServiceReport) { r.Requests = Requests{} }, []string{requests}},
		"Early":     {"a pod was Ready before it was Alive", func(r *ServiceReport) { r.Pods[1].AliveMS = 41 }, []string{order}},
		"FewReady":  {"a pod never was Ready", func(r *ServiceReport) { r.Pods[2].ReadyMS = 0 }, []string{order}},
		"Addresses": {"a pod saw another address", func(r *ServiceReport) { r.ClientIPPreserved = false }, []string{"pods see the clients' addresses"}},
		"Targets":   {"targets and pods differed", func(r *ServiceReport) { r.TargetsEqualPods = false }, []string{"the CLB's targets were exactly the pods"}},
		"NoKill":    {"nothing was killed", func(r *ServiceReport) { r.Kill = Kill{} }, []string{kill, recovered}},
		"Slow":      {"the Lease had to expire", func(r *ServiceReport) { r.Kill.RecoveredMS = maxRecovery + 1 }, []string{recovered}},
		"Left":      {"a CLB stayed", func(r *ServiceReport) { r.LeftBehind.LoadBalancers = 1 }, []string{left}},
		"NotLooked": {"nobody looked what was left", func(r *ServiceReport) { r.LeftBehind = nil }, []string{left}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := goodService()
			tc.change(r)
			if diff := cmp.Diff(tc.want, wrongs(r)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func goodIngress() *IngressReport {
	r := &IngressReport{
		Requests:         IngressRequests{Total: 9, Kept: 4, ByHost: map[string]*HostRequests{"a.test": {Total: 9}}},
		Redirects:        Redirects{Sent: 2, Moved: 2, Followed: 2},
		RollingUpdate:    RollingUpdate{OldPods: []string{"a"}, NewPods: []string{"b"}, Requests: 8, Kept: 4},
		TargetsEqualPods: true,
		LeftBehind:       &IngressLeftBehind{},
	}
	for _, name := range []string{"a", "b", "c"} {
		r.Pods = append(r.Pods, IngressPod{Pod: way(name), Gated: true})
	}
	r.Pods[0].DrainedMS = 50
	return r
}

func TestIngressReportJudges(t *testing.T) {
	const (
		replaced  = "all pods of a Deployment replaced"
		lost      = "not a request lost meanwhile"
		redirects = "HTTP redirected to HTTPS"
		requests  = "every request answered by the right Deployment"
		left      = "nothing left behind"
	)
	cases := map[string]struct {
		reason string
		change func(*IngressReport)
		want   []string
	}{
		"Good":         {"nothing is wrong", func(*IngressReport) {}, []string{}},
		"Ungated":      {"the webhook missed a pod", func(r *IngressReport) { r.Pods[0].Gated = false }, []string{"every pod was given the gate"}},
		"Early":        {"a pod was Ready before it was Alive", func(r *IngressReport) { r.Pods[1].AliveMS = 0 }, []string{"no pod Ready before the CLB found it healthy"}},
		"Failed":       {"a request failed", func(r *IngressReport) { r.Requests.Failed = 1 }, []string{requests}},
		"NoneSent":     {"no request is no proof", func(r *IngressReport) { r.Requests = IngressRequests{} }, []string{requests}},
		"NotMoved":     {"a request over HTTP was answered", func(r *IngressReport) { r.Redirects.Moved = 1 }, []string{redirects}},
		"NotFollowed":  {"a redirect led nowhere", func(r *IngressReport) { r.Redirects.Followed = 1 }, []string{redirects}},
		"NoRedirect":   {"none was asked for", func(r *IngressReport) { r.Redirects = Redirects{} }, []string{redirects}},
		"OldPodLeft":   {"a pod outlived the rolling update", func(r *IngressReport) { r.RollingUpdate.NewPods = []string{"a"} }, []string{replaced}},
		"Fewer":        {"a pod wasn't replaced", func(r *IngressReport) { r.RollingUpdate.NewPods = nil }, []string{replaced}},
		"FailedInRoll": {"a request failed during it", func(r *IngressReport) { r.RollingUpdate.Failed = 1 }, []string{lost}},
		"TooEarly":     {"an old pod ended while it was sent to", func(r *IngressReport) { r.Pods[0].DrainedMS = 0 }, []string{"no old pod ended before its target had weight 0"}},
		"NoneKept":     {"no connection was kept", func(r *IngressReport) { r.RollingUpdate.Kept = 0 }, []string{lost}},
		"AllKept":      {"no connection was new", func(r *IngressReport) { r.RollingUpdate.Kept = 8 }, []string{lost}},
		"Targets":      {"targets and pods differed", func(r *IngressReport) { r.TargetsEqualPods = false }, []string{"the CLB's targets were exactly the pods"}},
		"RuleLeft":     {"a rule stayed", func(r *IngressReport) { r.LeftBehind.Rules = 1 }, []string{left}},
		"TargetLeft":   {"a target stayed", func(r *IngressReport) { r.LeftBehind.Targets = 1 }, []string{left}},
		"NotLooked":    {"nobody looked what was left", func(r *IngressReport) { r.LeftBehind = nil }, []string{left}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := goodIngress()
			tc.change(r)
			if diff := cmp.Diff(tc.want, wrongs(r)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// keys are the names of what a value has as a JSON object.
func keys(t *testing.T, v any) []string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return sortedKeys(m)
}

func TestReportsHaveTheirFields(t *testing.T) {
	cases := map[string]struct {
		reason string
		value  any
		want   []string
	}{
		"Service": {"others read demo.json", goodService(), []string{
			"clb_calls", "client_ip_preserved", "kill", "latencies", "left_behind", "pods", "requests", "targets_equal_pods"}},
		"Ingress": {"others read demo-ingress.json", goodIngress(), []string{
			"clb_calls", "latencies", "left_behind", "pods", "redirects", "requests", "rolling_update", "targets_equal_pods"}},
		"IngressPod": {"a pod's way is in it, not below it", goodIngress().Pods[0], []string{
			"alive_ms", "app", "bound_ms", "containers_ready_ms", "created", "drained_ms", "gated", "ip", "name", "ready_ms"}},
		"IngressLeftBehind": {"what a Service leaves is in it, not below it", goodIngress().LeftBehind, []string{
			"finalizers", "listeners", "load_balancers", "rules", "targets"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, keys(t, tc.value)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTallyCounts(t *testing.T) {
	var c tally
	c.add("a.test", "a-1", false, nil)
	first := c.now()
	c.add("a.test", "a-1", true, nil)
	c.add("a.test", "", true, errors.New("refused"))
	c.add("b.test", "b-1", false, nil)
	want := IngressRequests{Total: 4, Failed: 1, Kept: 2, ByHost: map[string]*HostRequests{
		"a.test": {Total: 3, Failed: 1, PerPod: map[string]int{"a-1": 2}},
		"b.test": {Total: 1, PerPod: map[string]int{"b-1": 1}},
	}}
	if diff := cmp.Diff(want, c.now()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	before := IngressRequests{Total: 1, ByHost: map[string]*HostRequests{"a.test": {Total: 1, PerPod: map[string]int{"a-1": 1}}}}
	if diff := cmp.Diff(before, first); diff != "" {
		t.Errorf("a count was written to after it was taken: -want +got:\n%s", diff)
	}
}

func goodRollout() *RolloutReport {
	return &RolloutReport{
		NoGate: WayResult{Requests: 100, Failed: 20, RolloutSeconds: 2}, Gate: WayResult{Requests: 100, Failed: 3, RolloutSeconds: 20},
		GateSleep: WayResult{Requests: 100, RolloutSeconds: 32}, CLBDirect: WayResult{Requests: 100, RolloutSeconds: 25},
	}
}

func TestRolloutReportJudges(t *testing.T) {
	cases := map[string]struct {
		reason string
		spoil  func(*RolloutReport)
		want   string
	}{
		"Good":   {"as it should be", func(*RolloutReport) {}, ""},
		"Lost":   {"one request", func(r *RolloutReport) { r.CLBDirect.Failed = 1 }, "lost no request"},
		"Idle":   {"nothing was asked, nothing is shown", func(r *RolloutReport) { r.CLBDirect.Requests = 0 }, "lost no request"},
		"Wrong":  {"a stranger answered", func(r *RolloutReport) { r.CLBDirect.WrongPod = 1 }, "another application's pod"},
		"Slow":   {"a sleep would have done", func(r *RolloutReport) { r.CLBDirect.RolloutSeconds = 33 }, "sooner"},
		"Never":  {"it never was through", func(r *RolloutReport) { r.CLBDirect.RolloutSeconds = 0 }, "sooner"},
		"Weak":   {"a load that no_gate survives proves nothing", func(r *RolloutReport) { r.NoGate.Failed = 0 }, "no_gate loses"},
		"Weaker": {"nor one that gate survives", func(r *RolloutReport) { r.Gate.Failed = 0 }, "gate loses"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := goodRollout()
			tc.spoil(r)
			got := wrongs(r)
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("%s: got %q", tc.reason, got)
			case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)):
				t.Errorf("%s: want one about %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

// TestManners: each way's objects can be read, and differ as they say.
func TestManners(t *testing.T) {
	for _, m := range ways {
		if s := m.objects(); strings.Contains(s, "{{") || !strings.Contains(s, m.lifecycle) || !strings.Contains(s, m.label) {
			t.Errorf("%s: got\n%s", m.name, s)
		}
		if goodRollout().of(m.key) == nil {
			t.Errorf("%s is not in the report", m.key)
		}
	}
}

func TestOverTime(t *testing.T) {
	ms := func(all ...int) (out []time.Duration) {
		for _, n := range all {
			out = append(out, time.Duration(n)*time.Millisecond)
		}
		return out
	}
	cases := map[string]struct {
		reason string
		misses []time.Duration
		end    float64
		want   [][2]float64
	}{
		"None":     {"nothing failed, all the time", nil, 2.03, [][2]float64{{0, 0}, {2.1, 0}}},
		"Tenths":   {"the last of each tenth of a second is kept", ms(110, 120, 130, 310), 1, [][2]float64{{0, 0}, {0.2, 3}, {0.4, 4}, {1, 4}}},
		"Order":    {"requests end in another order than they begin", ms(310, 110), 1, [][2]float64{{0, 0}, {0.2, 1}, {0.4, 2}, {1, 2}}},
		"AtOnce":   {"the first may be at once", ms(0), 1, [][2]float64{{0, 0}, {0, 1}, {1, 1}}},
		"UpToLast": {"the last may be the end", ms(1000), 1, [][2]float64{{0, 0}, {1, 1}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, overTime(tc.misses, tc.end)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRolloutReportIsDrawn: every way has its line, with what it lost, and its bar.
func TestRolloutReportIsDrawn(t *testing.T) {
	r := goodRollout()
	for _, m := range ways {
		r.of(m.key).FailedOverTime = [][2]float64{{0, 0}, {1, float64(r.of(m.key).Failed)}}
	}
	svg, err := figure.SVG(2, r.Panels()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{">no readiness gate: 20 of 100<", ">clb-direct: gate and drain: 0 of 100<", ">gate-sleep<", ">32<"} {
		if !strings.Contains(string(svg), said) {
			t.Errorf("%s isn't there", said)
		}
	}
}
