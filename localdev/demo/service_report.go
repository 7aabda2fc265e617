package demo

import (
	"fmt"
	"io"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// ServiceReport is demo.json.
type ServiceReport struct {
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

	looked int
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

// maxRecovery is what a killed holder may cost, in milliseconds: well below the ten
// seconds that its Lease would have lasted.
const maxRecovery = 5000

func (r *ServiceReport) calls() int { return total(r.CLBCalls) }

func (r *ServiceReport) table(w io.Writer) {
	fmt.Fprintln(w, columns)
	for _, p := range r.Pods {
		p.row(w)
	}
}

func (r *ServiceReport) judge(v *verdicts) {
	v.check("every request answered", r.Requests.Failed == 0 && r.Requests.OK == r.Requests.Sent && r.Requests.Sent > 0, "%d of %d, by %d pods", r.Requests.OK, r.Requests.Sent, len(r.Requests.PerPod))
	v.check("pods see the clients' addresses", r.ClientIPPreserved, "%d addresses", visitors)
	v.check("the CLB's targets were exactly the pods", r.TargetsEqualPods, "looked %d times", r.looked)
	v.check("no pod Ready before the CLB found it healthy", inOrder(r.Pods, 3), "%d pods", len(r.Pods))
	v.check("killed between two writes, under the Lease", r.Kill.LeaseHeld && r.Kill.WritesBefore > 0 && r.Kill.WritesAfter > 0, "%d before, %d after", r.Kill.WritesBefore, r.Kill.WritesAfter)
	v.check("recovered without waiting for the Lease to expire", r.Kill.RecoveredMS > 0 && r.Kill.RecoveredMS <= maxRecovery, "%d ms", r.Kill.RecoveredMS)
	left := LeftBehind{LoadBalancers: -1, Targets: -1, Finalizers: -1} // nobody looked
	if r.LeftBehind != nil {
		left = *r.LeftBehind
	}
	v.check("nothing left behind", left == LeftBehind{}, "%+v", left)
}
