package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/record"
)

// report is what a demo measured, as it is written.
type report interface {
	// table shows the pods' ways, line by line, cells ended by tabs.
	table(w io.Writer)
	// judge checks it, each check by its name.
	judge(v *verdicts)
	// calls counts the CLB API's calls.
	calls() int
}

// Pod is a pod's way to Ready, in milliseconds from its creation.
type Pod struct {
	Name              string `json:"name"`
	IP                string `json:"ip"`
	BoundMS           int64  `json:"bound_ms"`
	ContainersReadyMS int64  `json:"containers_ready_ms"`
	AliveMS           int64  `json:"alive_ms"`
	ReadyMS           int64  `json:"ready_ms"`
}

func (p Pod) row(w io.Writer) {
	fmt.Fprintf(w, "%s\t%s\t%d ms\t%d ms\t%d ms\t%d ms\n", p.Name, p.IP, p.BoundMS, p.ContainersReadyMS, p.AliveMS, p.ReadyMS)
}

// columns are the heads of a Pod's row.
const columns = "pod\tIP\tbound\tcontainers ready\tCLB alive\tReady"

// LeftBehind is what a deleted Service or Ingress must not leave.
type LeftBehind struct {
	LoadBalancers int `json:"load_balancers"`
	Targets       int `json:"targets"`
	Finalizers    int `json:"finalizers"`
}

// verdicts are the outcomes of checks: each shown, and what is wrong kept.
type verdicts struct {
	w     io.Writer
	wrong []error
}

// check shows whether something is so, and what was seen.
func (v *verdicts) check(name string, ok bool, format string, args ...any) {
	verdict, seen := "yes", fmt.Sprintf(format, args...)
	if !ok {
		verdict = "NO"
		v.wrong = append(v.wrong, fmt.Errorf("%s: no (%s)", name, seen))
	}
	fmt.Fprintf(v.w, "%-52s %-4s%s\n", name, verdict, seen)
}

// inOrder tells whether every pod that became Ready had containers ready and was
// Alive before, and that at least that many did.
func inOrder(pods []Pod, least int) bool {
	n := 0
	for _, p := range pods {
		if p.ReadyMS == 0 {
			continue
		}
		n++
		if p.AliveMS == 0 || p.ReadyMS < p.AliveMS || p.ReadyMS < p.ContainersReadyMS {
			return false
		}
	}
	return n >= least
}

// total adds up counts by name.
func total(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// judge shows the table and the verdicts; the error is all that is wrong.
func (d *show) judge(r report) error {
	d.say("")
	t := tabwriter.NewWriter(d.o.W, 0, 0, 2, ' ', 0)
	r.table(t)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("showing the table: %w", err)
	}
	d.say("")
	v := verdicts{w: d.o.W}
	r.judge(&v)
	d.say("%d CLB API calls; whole demo %.0f s", r.calls(), d.elapsed(time.Now()))
	return errors.Join(v.wrong...)
}

// write writes the report.
func (d *show) write(file string, r report) error {
	path := filepath.Join(d.o.Out, file)
	if err := record.Save(path, r); err != nil {
		return err
	}
	d.say("report: %s", path)
	return nil
}

// sayPerPod shows who answered how many requests.
func (d *show) sayPerPod(counts map[string]int) {
	for _, name := range sortedKeys(counts) {
		d.say("    %-40s %3d", name, counts[name])
	}
}

// finalizers counts those of Services and Ingresses: in a cluster of the demo's own
// there are no others than ours.
func (d *show) finalizers(ctx context.Context) (int, error) {
	services, err := d.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("listing Services: %w", err)
	}
	ingresses, err := d.client.NetworkingV1().Ingresses("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("listing Ingresses: %w", err)
	}
	n := 0
	for _, svc := range services.Items {
		n += len(svc.Finalizers)
	}
	for _, ing := range ingresses.Items {
		n += len(ing.Finalizers)
	}
	return n, nil
}
