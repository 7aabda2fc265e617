package chart

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// The chart has dashboard and alerts as they are in infra/monitoring, on request.
func TestMonitoringIsTheChartsToo(t *testing.T) {
	for _, name := range []string{"alerts.yaml", "dashboard.json"} {
		want, err := os.ReadFile(root + "/infra/monitoring/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(chartDir+"/files/"+name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(chartDir + "/files/" + name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("infra/chart/files/%s is not infra/monitoring's (%v): `make manifests` copies it", name, err)
		}
	}
	out, err := newHelm(t, "").Run(t.Context(), append([]string{"template", "clb-direct", chartDir, "-n", namespace,
		"--set", "monitoring.dashboard.enabled=true", "--set", "monitoring.alerts.enabled=true", "--set", "monitoring.podMonitor.enabled=true"}, enough...)...)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]any{}
	for doc := range strings.SplitSeq(string(out), "\n---") {
		var o struct {
			Kind string
			Spec struct{ Groups []any }
			Data map[string]string
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		switch {
		case o.Kind == "PrometheusRule":
			kinds[o.Kind] = len(o.Spec.Groups) > 0
		case o.Kind == "PodMonitor":
			kinds[o.Kind] = true
		case o.Data["clb-direct.json"] != "":
			var board map[string]any
			kinds["dashboard"] = yaml.Unmarshal([]byte(o.Data["clb-direct.json"]), &board) == nil
		}
	}
	if diff := cmp.Diff(map[string]any{"PrometheusRule": true, "PodMonitor": true, "dashboard": true}, kinds); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
