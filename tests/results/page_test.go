package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/record"
)

var update = flag.Bool("update", false, "write testdata/page.md anew")

// docs is the folder of the page that is kept.
const docs = "../../docs"

// Nobody wrote a figure by hand: the page and its plots are what comes of the reports that
// are kept beside them. Who changed one of them runs `make results`.
func TestPageIsWhatIsRendered(t *testing.T) {
	b, err := read(filepath.Join(docs, "results"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := render(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sorted(files) {
		got, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.HasSuffix(name, ".svg") && runtime.GOARCH != "amd64" {
			continue // others fuse multiplications and additions, and a last digit may differ
		}
		if !bytes.Equal(files[name], got) {
			t.Errorf("docs/%s is not what `make results` renders: -rendered +docs\n%s", name, cmp.Diff(lines(files[name]), lines(got)))
		}
	}
	kept, err := filepath.Glob(filepath.Join(docs, "results/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range kept {
		name := filepath.Base(path)
		_, report := new(book).slots()[strings.TrimSuffix(name, ".json")]
		if files["results/"+name] == nil && !(report && strings.HasSuffix(name, ".json")) {
			t.Errorf("docs/results/%s is no report that is known, and no plot of one", name)
		}
	}
}

// lines are compared, as a whole text's difference is hard to read.
func lines(text []byte) []string { return strings.Split(string(text), "\n") }

// Every target of the Makefile that writes a report is a row, and every row such a target.
func TestEveryMeasurementIsARow(t *testing.T) {
	raw, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]string{}, map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):.*\(report: out/([a-z0-9-]+)\.json`).FindAllStringSubmatch(string(raw), -1) {
		want[m[1]] = m[2]
	}
	for _, r := range rows {
		got[r.Command] = r.Report
		if new(book).slots()[r.Report] == nil {
			t.Errorf("nothing is read of %s.json", r.Report)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-Makefile +rows:\n%s", diff)
	}
}

// hand renders reports made by hand.
func hand(t *testing.T) map[string][]byte {
	t.Helper()
	b, err := read("testdata/out")
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Measured) != len(names()) {
		t.Fatalf("testdata has %d of %d reports", len(b.Measured), len(names()))
	}
	files, err := render(b)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRender(t *testing.T) {
	files := hand(t)
	const golden = "testdata/page.md"
	if *update {
		if err := os.WriteFile(golden, files["results.md"], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(files["results.md"])); diff != "" {
		t.Errorf("-golden +rendered (-update writes it anew):\n%s", diff)
	}
	for name, again := range hand(t) {
		if !bytes.Equal(again, files[name]) {
			t.Errorf("%s is another one each time", name)
		}
	}
}

// Each plot has what it is about, is shown, and is no burden for a clone.
func TestPlots(t *testing.T) {
	files := hand(t)
	for name, said := range map[string][]string{
		"rollout":   {">no readiness gate: 603 of 6600<", ">33.3<", ">gate-sleep<"},
		"chaos":     {">node-gone<", ">failed with a pod that the fault struck down: 31<", ">failed, answered by a wrong pod, or by one not ready: 2<"},
		"ready":     {">pod 4<", ">found healthy by the CLB<", ">On the real kubelet, 72 pods (make e2e-kubelet)<", ">4.1<"},
		"forwarder": {">5,120<", ">slow sink<", ">9,000<", ">Changes lost<", ">71.2<", ">250<"},
		"soak":      {">The forwarder at 200 changes a second over a faulty sink<", ">minutes<"},
		"bench":     {">backends one pod<", ">plan targets steady<", ">10,000<"},
		"drift":     {">rule removed<", ">at most<"},
	} {
		svg := files["results/"+name+".svg"]
		if len(svg) == 0 || len(svg) > 100<<10 {
			t.Errorf("%s.svg has %d bytes", name, len(svg))
		}
		for _, s := range said {
			if !bytes.Contains(svg, []byte(s)) {
				t.Errorf("%s.svg says nothing of %s", name, s)
			}
		}
		if !bytes.Contains(files["results.md"], []byte("](results/"+name+".svg)")) {
			t.Errorf("the page doesn't show %s.svg", name)
		}
	}
	if len(files) != len(drawings)+1 {
		t.Errorf("%d files, want %d plots and the page", len(files), len(drawings))
	}
}

// What was never measured is told, and nothing is made up for it.
func TestNothingMeasured(t *testing.T) {
	files, err := render(&book{Measured: map[string]record.Measured{}})
	if err != nil {
		t.Fatal(err)
	}
	page := string(files["results.md"])
	if len(files) != 1 || strings.Contains(page, ".svg)") {
		t.Errorf("plots were made of nothing: %v", sorted(files))
	}
	for _, r := range rows {
		if !strings.Contains(page, "| `make "+r.Command+"` | `out/"+r.Report+".json`") {
			t.Errorf("%s has no row", r.Command)
		}
	}
	if got := strings.Count(page, "| not measured yet |"); got != len(rows) {
		t.Errorf("%d rows say that nothing was measured, want %d", got, len(rows))
	}
}

// A report may have been made of a part, and leaves the rest out.
func TestPartOfTheForwardersScenarios(t *testing.T) {
	b := &book{Measured: map[string]record.Measured{"bench-forwarder": {}}}
	if _, err := b.take("bench-forwarder", []byte(`{"ours":{"crash":{"lost":0}},"baseline":{"crash":{"lost":50}},"ratios":{},"rss_mib":{},"differences":[],"failures":[],"rounds":1}`)); err != nil {
		t.Fatal(err)
	}
	files, err := render(b)
	if err != nil {
		t.Fatal(err)
	}
	if page := string(files["results.md"]); !strings.Contains(page, "0 changes lost in 1 scenarios, the baseline 50") || strings.Contains(page, "NaN") {
		t.Errorf("got\n%s", page)
	}
	if svg := string(files["results/forwarder.svg"]); !strings.Contains(svg, ">crash<") || strings.Contains(svg, "drained") {
		t.Error("not only what was measured is drawn")
	}
}
