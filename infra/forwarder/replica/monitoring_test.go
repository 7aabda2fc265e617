package replica

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"
)

// exported are the names of all that a replica exports, as Prometheus stores it.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	m := newMetrics()
	descs := make(chan *prometheus.Desc, 100)
	for _, c := range []prometheus.Collector{m.sends, m.seconds, m.decisions, m.leading, m.dropped, m.holds} {
		c.Describe(descs)
	}
	close(descs)
	all := []*prometheus.Desc{oldest, queued, relists, waiting, age}
	for d := range descs {
		all = append(all, d)
	}
	out := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for _, d := range all {
		n := name.FindStringSubmatch(d.String())[1]
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			out[n+suffix] = suffix == "" || strings.HasSuffix(n, "_seconds")
		}
	}
	return out
}

// TestMonitoringNamesWhatThereIs: what dashboard and alerts ask for exists, and both are
// well formed.
func TestMonitoringNamesWhatThereIs(t *testing.T) {
	var board struct {
		Title  string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	raw, err := os.ReadFile("../../monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		t.Fatal(err)
	}
	asked := map[string][]string{}
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			asked["panel "+p.Title] = append(asked["panel "+p.Title], q.Expr)
		}
	}
	var rules struct {
		Kind string
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr, For    string
					Labels, Annotations map[string]string
				}
			}
		}
	}
	if raw, err = os.ReadFile("../../monitoring/alerts.yaml"); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Spec.Groups {
		for _, r := range g.Rules {
			if r.For == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("alert %s is incomplete: %+v", r.Alert, r)
			}
			asked["alert "+r.Alert] = append(asked["alert "+r.Alert], r.Expr)
		}
	}
	if rules.Kind != "PrometheusRule" || board.Title == "" || len(asked) < 15 {
		t.Fatalf("%d queries in all: something was not read", len(asked))
	}
	there := exported(t)
	metric := regexp.MustCompile(prefix + `[a-z_]+`)
	used := map[string]bool{}
	for _, where := range slices.Sorted(maps.Keys(asked)) {
		for _, expr := range asked[where] {
			for _, n := range metric.FindAllString(expr, -1) {
				used[n] = true
				if !there[n] {
					t.Errorf("%s asks for %s, which nothing exports", where, n)
				}
			}
			if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
				t.Errorf("%s: %s", where, expr)
			}
		}
	}
	for _, must := range []string{"oldest_unacknowledged_seconds", "queue_length", "send_seconds_bucket", "lists_total", "watch_silent_seconds", "dropped_total"} {
		if !used[prefix+must] {
			t.Errorf("nobody looks at %s", must)
		}
	}
}
