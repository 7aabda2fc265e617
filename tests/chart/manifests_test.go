// Package chart holds infra/chart to its word: the plain manifests are what it renders,
// values that can't work are refused by name, and what it renders is what a real API
// server takes.
package chart

import (
	"context"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/helm"
)

const (
	root      = "../.."
	chartDir  = root + "/infra/chart"
	namespace = "clb-direct-system"
)

var update = flag.Bool("update", false, "write infra/manifests, infra/policy and infra/crd anew from the chart")

func newHelm(t *testing.T, kubeconfig string) *helm.Helm {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // its first build
	defer cancel()
	h, err := helm.New(ctx, root, t.TempDir(), kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// places are where templates go that aren't rendered into infra/manifests.
var places = map[string]string{"60-gate-policy.yaml": "infra/policy/gate.yaml"}

// elsewhere are templates of which plain manifests have nothing.
var elsewhere = []string{"70-monitoring.yaml", "80-leave.yaml"}

const rendered = "# Rendered from infra/chart by `make manifests`: change it there.\n"

// render gives the plain manifests by their path below the root.
func render(t *testing.T) map[string]string {
	t.Helper()
	out := t.TempDir()
	if _, err := newHelm(t, "").Run(t.Context(), "template", "clb-direct", chartDir, "-n", namespace, "-f", chartDir+"/manifests.yaml", "--output-dir", out); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		to, ok := places[d.Name()]
		if !ok {
			to = "infra/manifests/" + d.Name()
		}
		files[to] = rendered + plain(string(raw))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	crd, err := os.ReadFile(chartDir + "/crds/tkeserviceconfigs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files["infra/crd/tkeserviceconfigs.yaml"] = strings.Replace(rendered, "Rendered", "Copied", 1) + string(crd)
	return files
}

// plain leaves out what helm says about itself.
func plain(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# Source: ") {
			continue
		}
		out = append(out, line)
	}
	text = strings.TrimPrefix(strings.Join(out, ""), "---\n")
	return strings.TrimRight(strings.ReplaceAll(text, "\n\n---\n", "\n---\n"), "\n") + "\n"
}

// The plain manifests are the chart's, to the letter.
func TestManifestsAreWhatTheChartRenders(t *testing.T) {
	want := render(t)
	if *update {
		for path, text := range want {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := map[string]string{}
	for _, dir := range []string{"infra/manifests", "infra/policy", "infra/crd"} {
		found, err := filepath.Glob(filepath.Join(root, dir, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got[dir+"/"+filepath.Base(path)] = string(raw)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want what the chart renders; `make manifests` writes it (-want +got):\n%s", diff)
	}
	templates, err := filepath.Glob(chartDir + "/templates/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range templates {
		name := filepath.Base(path)
		_, there := want["infra/manifests/"+name]
		if places[name] == "" && !there && !slices.Contains(elsewhere, name) {
			t.Errorf("%s renders nothing: only %q may be left out of %q", name, elsewhere, slices.Sorted(maps.Keys(want)))
		}
	}
}
