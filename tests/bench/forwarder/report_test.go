package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpreadIsTheMedianAndTheWorstLoss(t *testing.T) {
	got := spread([]figures{{"lost": 0, "x": 3.0}, {"lost": 2, "x": 1.0}, {"lost": 0, "x": 2.0}})
	if diff := cmp.Diff(figures{"lost": 2, "x": 2.0, "x_spread": "1..3"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestConcludeSaysWhatIsNotMet(t *testing.T) {
	good := func() *report {
		r := newReport()
		r.Rounds = judged
		r.Ours["drain"], r.Baseline["drain"] = figures{"lost": 0, "keys_per_second": 4500.0}, figures{"lost": 0, "keys_per_second": 1500.0, "cpu_ms_per_event": 0.9}
		r.Ours["idle"], r.Baseline["idle"] = figures{"lost": 0, "added_p50_ms": 1.0}, figures{"lost": 0, "added_p50_ms": 1.0}
		r.Ours["slow_sink"], r.Baseline["slow_sink"] = figures{"lost": 0, "added_p99_ms": 50.0}, figures{"lost": 0, "added_p99_ms": 9000.0}
		r.Ours["crash"], r.Baseline["crash"] = figures{"lost": 0}, figures{"lost": 50}
		r.RSS["10000"], r.RSS["50000"], r.Start10000 = 80, 250, 10
		return r
	}
	cases := map[string]struct {
		reason   string
		change   func(*report)
		failures int
		differs  int
	}{
		"Met":       {"all just so", func(*report) {}, 0, 0},
		"Lost":      {"one change is one too many", func(r *report) { r.Ours["crash"]["lost"] = 1 }, 1, 0},
		"Slow":      {"less than three times the baseline", func(r *report) { r.Ours["drain"]["keys_per_second"] = 4400.0 }, 1, 0},
		"OneRound":  {"a single round is told, and not held to a bar", func(r *report) { r.Rounds, r.Ours["drain"]["keys_per_second"] = 1, 4400.0 }, 0, 1},
		"Late":      {"more than a tenth above the baseline", func(r *report) { r.Ours["idle"]["added_p50_ms"] = 1.2 }, 1, 0},
		"SlowSink":  {"more than a tenth of the baseline", func(r *report) { r.Ours["slow_sink"]["added_p99_ms"] = 1000.0 }, 1, 0},
		"Big":       {"more memory than is allowed", func(r *report) { r.RSS["10000"], r.RSS["50000"] = 81, 251 }, 2, 0},
		"Start":     {"too long until everything is told", func(r *report) { r.Start10000 = 11 }, 1, 0},
		"Tame":      {"a baseline that loses nothing is none", func(r *report) { r.Baseline["crash"]["lost"] = 0 }, 0, 1},
		"Different": {"a baseline faster than the reference", func(r *report) { r.Baseline["drain"]["cpu_ms_per_event"] = 0.3 }, 0, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := good()
			c.change(r)
			r.conclude()
			if len(r.Failures) != c.failures || len(r.Differences) != c.differs {
				t.Errorf("%s: %q, %q", c.reason, r.Failures, r.Differences)
			}
		})
	}
}

// TestSinkKnows holds the bookkeeping that losses are counted by to what was sent.
func TestSinkKnows(t *testing.T) {
	k := newKey(7, small)
	k.version = 20
	ours := func(version string, all bool) string {
		pods := fmt.Sprintf(`[{"uid":%q,"resourceVersion":%q}]`, k.uid, version)
		if all {
			pods = "[]"
		}
		return fmt.Sprintf(`{"id":"x","type":"io.clb-direct.backends.sync","data":{"loadBalancers":[%q],"all":%v,"resourceVersion":%q,"pods":%s}}`, k.balancer, all, version, pods)
	}
	object := fmt.Sprintf(`{"metadata":{"uid":%q,"resourceVersion":"20"}}`, k.uid)
	cases := map[string]struct {
		reason, body, kind string
		status             int
		want               bool
	}{
		"Named":    {"the pod in its version", ours("20", false), "", 0, true},
		"Stale":    {"the pod in an older one", ours("19", false), "", 0, false},
		"All":      {"everything of its CLB, as new", ours("21", true), "", 0, true},
		"StaleAll": {"everything, but as it was before", ours("19", true), "", 0, false},
		"Frontend": {"another function does nothing about pods", strings.Replace(ours("20", false), "backends", "frontend", 1), "", 0, false},
		"Refused":  {"what the sink refused it doesn't know", ours("20", false), "", 503, false},
		"Object":   {"the baseline sends the object", object, "dev.knative.apiserver.resource.update", 0, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := &sink{}
			s.forget()
			s.behave(0, func() int { return c.status })
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
			r.Header.Set("Ce-Type", c.kind)
			s.ServeHTTP(httptest.NewRecorder(), r)
			if _, ok := s.has(k); ok != c.want {
				t.Errorf("%s: known is %v", c.reason, ok)
			}
		})
	}
}

// The pods are of the sizes that the figures speak of.
func TestPodsAreAsBigAsTheyAreSaidToBe(t *testing.T) {
	for _, size := range []int{small, real} {
		raw := jsonOf(t, newKey(1234, size).object())
		if n := len(raw); n < size*9/10 || n > size*11/10 {
			t.Errorf("%d bytes, want about %d", n, size)
		}
	}
}

func jsonOf(t *testing.T, o any) []byte {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
