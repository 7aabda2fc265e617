package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// Report is demo.json.
type Report struct {
	Pods              []Pod    `json:"pods"`
	Requests          Requests `json:"requests"`
	ClientIPPreserved bool     `json:"client_ip_preserved"`
	TargetsEqualPods  bool     `json:"targets_equal_pods"`
	Kill              Kill     `json:"kill"`
	// Latencies are what the emulated CLB was set to.
	Latencies clb.Latencies `json:"latencies"`
	// LeftBehind is what was still there after the Service was deleted.
	LeftBehind *LeftBehind    `json:"left_behind"`
	CLBCalls   map[string]int `json:"clb_calls"`

	checks []bool
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

// Requests counts the requests through the CLB.
type Requests struct {
	Sent   int            `json:"sent"`
	OK     int            `json:"ok"`
	Failed int            `json:"failed"`
	PerPod map[string]int `json:"per_pod"`
}

// Kill is what came of the function that was killed.
type Kill struct {
	// LeaseHeld: it held the CLB's Lease when it died.
	LeaseHeld bool `json:"lease_held"`
	// WritesBefore counts its own writes, WritesAfter those of its successor up to
	// recovery.
	WritesBefore int `json:"writes_before"`
	WritesAfter  int `json:"writes_after"`
	// RecoveredMS is from the kill until what it had left undone was done.
	RecoveredMS int64 `json:"recovered_ms"`
}

// LeftBehind is what a deleted Service must not leave.
type LeftBehind struct {
	LoadBalancers int `json:"load_balancers"`
	Targets       int `json:"targets"`
	Finalizers    int `json:"finalizers"`
}

// maxRecovery is what a killed holder may cost, in milliseconds: well below the ten
// seconds that its Lease would have lasted.
const maxRecovery = 5000

// finish shows the table and judges.
func (d *show) finish() error {
	r := &d.report
	r.Pods = d.board.ways()
	d.say("")
	t := tabwriter.NewWriter(d.o.W, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "pod\tIP\tbound\tcontainers ready\tCLB alive\tReady")
	for _, p := range r.Pods {
		fmt.Fprintf(t, "%s\t%s\t%d ms\t%d ms\t%d ms\t%d ms\n", p.Name, p.IP, p.BoundMS, p.ContainersReadyMS, p.AliveMS, p.ReadyMS)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("showing the table: %w", err)
	}
	var wrong []error
	check := func(name string, ok bool, format string, args ...any) {
		verdict := "yes"
		if !ok {
			verdict = "NO"
			wrong = append(wrong, fmt.Errorf("%s: no ("+format+")", append([]any{name}, args...)...))
		}
		d.say("%-52s %-4s"+format, append([]any{name, verdict}, args...)...)
	}
	d.say("")
	check("every request answered", r.Requests.Failed == 0 && r.Requests.OK == r.Requests.Sent && r.Requests.Sent > 0, "%d of %d, by %d pods", r.Requests.OK, r.Requests.Sent, len(r.Requests.PerPod))
	check("pods see the clients' addresses", r.ClientIPPreserved, "%d addresses", len(clients))
	check("the CLB's targets were exactly the pods", r.TargetsEqualPods, "looked %d times", len(r.checks))
	check("no pod Ready before the CLB found it healthy", inOrder(r.Pods), "%d pods", len(r.Pods))
	check("killed between two writes, under the Lease", r.Kill.LeaseHeld && r.Kill.WritesBefore > 0 && r.Kill.WritesAfter > 0, "%d before, %d after", r.Kill.WritesBefore, r.Kill.WritesAfter)
	check("recovered without waiting for the Lease to expire", r.Kill.RecoveredMS > 0 && r.Kill.RecoveredMS <= maxRecovery, "%d ms", r.Kill.RecoveredMS)
	check("nothing left behind", r.LeftBehind != nil && *r.LeftBehind == LeftBehind{}, "%+v", deref(r.LeftBehind))
	r.CLBCalls = d.s.CLB.CallCounts()
	total := 0
	for _, n := range r.CLBCalls {
		total += n
	}
	d.say("%d CLB API calls; whole demo %.0f s", total, time.Since(d.began).Seconds())
	return errors.Join(wrong...)
}

// inOrder tells whether every pod that became Ready had containers ready and was
// Alive before, and that at least the document's three did.
func inOrder(pods []Pod) bool {
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
	return n >= 3
}

// write writes demo.json.
func (d *show) write() error {
	d.report.CLBCalls = d.s.CLB.CallCounts()
	if d.report.Pods == nil {
		d.report.Pods = d.board.ways()
	}
	raw, err := json.MarshalIndent(d.report, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	path := filepath.Join(d.o.Out, "demo.json")
	if err := os.MkdirAll(d.o.Out, 0o755); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	d.say("report: %s", path)
	return nil
}

func deref(l *LeftBehind) LeftBehind {
	if l == nil {
		return LeftBehind{LoadBalancers: -1, Targets: -1, Finalizers: -1}
	}
	return *l
}
