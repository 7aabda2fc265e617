package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// IngressReport is demo-ingress.json.
type IngressReport struct {
	Pods             []IngressPod    `json:"pods"`
	Requests         IngressRequests `json:"requests"`
	Redirects        Redirects       `json:"redirects"`
	RollingUpdate    RollingUpdate   `json:"rolling_update"`
	TargetsEqualPods bool            `json:"targets_equal_pods"`
	// Latencies are what the emulated CLB was set to.
	Latencies clb.Latencies `json:"latencies"`
	// LeftBehind is what was still there after the Ingresses were deleted.
	LeftBehind *IngressLeftBehind `json:"left_behind"`
	CLBCalls   map[string]int     `json:"clb_calls"`

	looked int
}

// IngressPod is a Pod and more about it.
type IngressPod struct {
	App     string    `json:"app"`
	Created time.Time `json:"created"`
	Pod
	// Gated: it was given the readiness gate.
	Gated bool `json:"gated"`
	// DrainedMS is from the moment when it was told to go until its target had weight
	// 0; 0 if it wasn't told, or ended before.
	DrainedMS int64 `json:"drained_ms"`
}

// IngressRequests counts the requests through the CLB that pods were to answer.
type IngressRequests struct {
	Total  int `json:"total"`
	Failed int `json:"failed"`
	// Kept is how many of them went over connections that had served others before.
	Kept   int                      `json:"on_kept_connections"`
	ByHost map[string]*HostRequests `json:"by_host"`
}

// HostRequests counts the requests to one host.
type HostRequests struct {
	Total  int            `json:"total"`
	Failed int            `json:"failed"`
	PerPod map[string]int `json:"per_pod"`
}

// Redirects counts the requests over HTTP to hosts that are served over HTTPS.
type Redirects struct {
	Sent int `json:"sent"`
	// Moved were answered 301 with the same address over HTTPS, Followed were answered
	// there.
	Moved    int `json:"moved"`
	Followed int `json:"followed"`
}

// RollingUpdate is what came of replacing all pods of a Deployment under load.
type RollingUpdate struct {
	Deployment string   `json:"deployment"`
	OldPods    []string `json:"old_pods"`
	NewPods    []string `json:"new_pods"`
	Seconds    float64  `json:"seconds"`
	// Requests were sent meanwhile to all hosts, Failed of them not answered, Kept of
	// them over connections that had served others before.
	Requests int `json:"requests"`
	Failed   int `json:"failed"`
	Kept     int `json:"on_kept_connections"`
}

// IngressLeftBehind is what a deleted Ingress must not leave.
type IngressLeftBehind struct {
	LeftBehind
	Listeners int `json:"listeners"`
	Rules     int `json:"rules"`
}

func (r *IngressReport) calls() int { return total(r.CLBCalls) }

func (r *IngressReport) pods() []Pod {
	var out []Pod
	for _, p := range r.Pods {
		out = append(out, p.Pod)
	}
	return out
}

func (r *IngressReport) table(w io.Writer) {
	fmt.Fprintln(w, columns)
	for _, p := range r.pods() {
		p.row(w)
	}
}

func (r *IngressReport) judge(v *verdicts) {
	v.check("every pod was given the gate", r.gated() == len(r.Pods) && len(r.Pods) > 0, "%d of %d", r.gated(), len(r.Pods))
	v.check("no pod Ready before the CLB found it healthy", inOrder(r.pods(), 3), "%d pods", len(r.Pods))
	v.check("every request answered by the right Deployment", r.Requests.Failed == 0 && r.Requests.Total > 0, "%d of %d, %d hosts", r.Requests.Total-r.Requests.Failed, r.Requests.Total, len(r.Requests.ByHost))
	all := r.Redirects == Redirects{r.Redirects.Sent, r.Redirects.Sent, r.Redirects.Sent}
	v.check("HTTP redirected to HTTPS", all && r.Redirects.Sent > 0, "%d of %d moved, %d answered there", r.Redirects.Moved, r.Redirects.Sent, r.Redirects.Followed)
	u := r.RollingUpdate
	v.check("all pods of a Deployment replaced", len(u.OldPods) > 0 && len(u.NewPods) == len(u.OldPods) && disjoint(u.OldPods, u.NewPods), "%d old, %d new, %.1f s", len(u.OldPods), len(u.NewPods), u.Seconds)
	// The CLB tries the next target where one refuses, so that requests alone don't show
	// whether pods ended too early.
	v.check("no old pod ended before its target had weight 0", r.drained() == len(u.OldPods), "%d of %d", r.drained(), len(u.OldPods))
	v.check("not a request lost meanwhile", u.Failed == 0 && u.Kept > 0 && u.Kept < u.Requests, "%d of %d failed, %d on kept connections", u.Failed, u.Requests, u.Kept)
	v.check("the CLB's targets were exactly the pods", r.TargetsEqualPods, "looked %d times", r.looked)
	left := IngressLeftBehind{LeftBehind{-1, -1, -1}, -1, -1} // nobody looked
	if r.LeftBehind != nil {
		left = *r.LeftBehind
	}
	v.check("nothing left behind", left == IngressLeftBehind{}, "%d CLBs, %d listeners, %d rules, %d targets, %d finalizers",
		left.LoadBalancers, left.Listeners, left.Rules, left.Targets, left.Finalizers)
}

// gated counts the pods that were given the gate.
func (r *IngressReport) gated() int {
	n := 0
	for _, p := range r.Pods {
		if p.Gated {
			n++
		}
	}
	return n
}

// drained counts the pods that the rolling update ended and whose targets had weight 0
// before.
func (r *IngressReport) drained() int {
	n := 0
	for _, p := range r.Pods {
		if p.DrainedMS > 0 && slices.Contains(r.RollingUpdate.OldPods, p.Name) {
			n++
		}
	}
	return n
}

func disjoint(a, b []string) bool {
	return !slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// tally counts requests as they are answered.
type tally struct {
	mu    sync.Mutex
	count IngressRequests
}

// add counts a request to host that a pod answered, or that failed.
func (t *tally) add(host, pod string, kept bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count.ByHost == nil {
		t.count.ByHost = map[string]*HostRequests{}
	}
	h := t.count.ByHost[host]
	if h == nil {
		h = &HostRequests{PerPod: map[string]int{}}
		t.count.ByHost[host] = h
	}
	t.count.Total++
	h.Total++
	if kept {
		t.count.Kept++
	}
	if err != nil {
		t.count.Failed++
		h.Failed++
		return
	}
	h.PerPod[pod]++
}

// now is the count so far; it isn't written to any more.
func (t *tally) now() IngressRequests {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.count
	out.ByHost = map[string]*HostRequests{}
	for host, h := range t.count.ByHost {
		out.ByHost[host] = &HostRequests{h.Total, h.Failed, maps.Clone(h.PerPod)}
	}
	return out
}
