package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

// tally counts.
type tally struct {
	// Rollouts are the rolling updates that went through.
	Rollouts int `json:"rollouts"`
	Requests int `json:"requests"`
	// Failed are requests without their whole answer; Destroyed are those of which a fault
	// had struck down the very pod that they went to, by evidence, and no Failed.
	Failed    int `json:"failed"`
	Destroyed int `json:"failed_destroyed"`
	// WrongPod are answers of another pod than the load balancer had bound, WrongUngraceful
	// those where a fault had taken that pod away.
	WrongPod        int `json:"wrong_pod"`
	WrongUngraceful int `json:"wrong_pod_ungraceful"`
	// Premature are answers of a container whose readiness endpoint said no, PrematureAgain
	// those of one that was started again after a fault had struck it down.
	Premature      int `json:"premature"`
	PrematureAgain int `json:"premature_restarted"`
	// Late are answers over connections begun after the pod was sent SIGTERM.
	Late int `json:"after_sigterm"`
	// Repeated are HTTP requests over a kept connection that ended under them, sent again.
	Repeated int `json:"repeated"`
	// Terminated are containers that had taken traffic and heard SIGTERM, Drained those to
	// which no load balancer gave any weight by then.
	Terminated int `json:"sigterms"`
	Drained    int `json:"drained_before_sigterm"`
	// HoldBroken are drain hooks that ended without an answer.
	HoldBroken int `json:"hold_broken"`
	// Met is how often something has met the faults: calls, events, pods, replicas.
	Met     int     `json:"met"`
	Seconds float64 `json:"seconds"`
}

// report is chaos.json.
type report struct {
	tally
	DrainedRatio float64           `json:"drained_before_sigterm_ratio"`
	ByFault      map[string]*tally `json:"by_fault"`
	ByKind       map[load.Kind]int `json:"requests_by_kind"`
	// FenceMS is, for pods taken away without a drain, how long another's answers came in
	// their place.
	FenceMS spread `json:"fence_ungraceful_ms"`
	// AddressesReused counts pods that got an address another one had before.
	AddressesReused int           `json:"addresses_reused"`
	Pods            int           `json:"pods"`
	Findings        []string      `json:"findings,omitempty"`
	Seed            uint64        `json:"seed"`
	Latencies       clb.Latencies `json:"latencies"`

	fenced    map[string]time.Duration // by the UID of the pod that was taken away
	accounted map[string]int           // moments of each pod that were accounted for
}

// of is the tally of a fault.
func (r *report) of(name string) *tally {
	if r.ByFault[name] == nil {
		r.ByFault[name] = &tally{}
	}
	return r.ByFault[name]
}

// add counts a request.
func (t *tally) add(e evidence, v verdict) {
	t.Requests++
	if e.sample.Repeated {
		t.Repeated++
	}
	if n := map[verdict]*int{
		failed: &t.Failed, destroyed: &t.Destroyed, wrong: &t.WrongPod, wrongUngraceful: &t.WrongUngraceful,
		premature: &t.Premature, prematureAgain: &t.PrematureAgain, late: &t.Late,
	}[v]; n != nil {
		*n++
	}
}

// mostFindings are how many are kept.
const mostFindings = 200

// note keeps what is not as it should.
func (r *report) note(c cast, finding string) {
	if len(r.Findings) < mostFindings {
		r.Findings = append(r.Findings, c.list()+": "+finding)
	}
}

// account takes stock of what pods' containers went through since the last time.
func (r *report) account(s *stage, t *tally) {
	if r.accounted == nil {
		r.accounted = map[string]int{}
	}
	owners := map[string]int{}
	for _, uid := range s.watch.uids() {
		l, _ := s.watch.life(uid)
		owners[l.pod.Status.PodIP]++
		past := s.Nodes.Moments(types.UID(uid))
		for _, m := range past[r.accounted[uid]:] {
			switch m.What {
			case node.HookFailed:
				t.HoldBroken++
				r.HoldBroken++
			case node.Terminated:
				weight, ever := l.weightAt(m.At)
				if !ever {
					continue
				}
				t.Terminated++
				r.Terminated++
				if weight == 0 {
					t.Drained++
					r.Drained++
				} else {
					s.Say("    %s heard SIGTERM with weight %d", l.pod.Name, weight)
				}
			}
		}
		r.accounted[uid] = len(past)
	}
	r.Pods, r.AddressesReused = 0, 0
	for _, n := range owners {
		r.Pods += n
		r.AddressesReused += n - 1
	}
	r.DrainedRatio = float64(r.Drained) / float64(max(r.Terminated, 1))
}

// describe says what happened to a request, for people.
func (e evidence) describe(v verdict, why string) string {
	s := e.sample
	word := map[verdict]string{failed: "failed", wrong: "wrong pod", premature: "premature", late: "after SIGTERM"}[v]
	text := fmt.Sprintf("%s %s %s to %s, %s from %s after %.3f s: %s", s.Sent.Format("15:04:05.000"), s.Kind, word, s.Site, s.To, s.From, s.Ended.Sub(s.Sent).Seconds(), why)
	if !e.traced {
		return text + "; no flow is known"
	}
	text += fmt.Sprintf("; flow of %s to %s", e.flow.At.Format("15:04:05.000"), e.flow.Target)
	if e.flow.Target.IsValid() {
		text += fmt.Sprintf(" (%s, weight %d, %s)", e.flow.Label, e.flow.Weight, e.flow.State)
	}
	for _, m := range e.past {
		text += fmt.Sprintf(", %s %s", m.What, m.At.Format("15:04:05.000"))
	}
	if e.strike != nil {
		text += fmt.Sprintf(", struck by %s %s", e.strike.what, e.strike.at.Format("15:04:05.000"))
	}
	return text
}

// wrong lists what is not as it must be.
func (r *report) wrong(rollouts, requests int) []error {
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	must(r.Rollouts >= rollouts, "want %d rolling updates, %d went through", rollouts, r.Rollouts)
	must(r.Requests >= requests, "want %d requests, %d were sent", requests, r.Requests)
	must(r.Terminated-r.Drained <= r.HoldBroken, "%d of %d containers had no weight any more when they heard SIGTERM, and %d hooks had broken", r.Drained, r.Terminated, r.HoldBroken)
	must(r.Failed == 0, "%d of %d requests failed", r.Failed, r.Requests)
	must(r.WrongPod == 0, "%d answers came from a wrong pod", r.WrongPod)
	must(r.Premature == 0, "%d answers came from a pod that was not ready", r.Premature)
	must(r.Late == 0, "%d answers came over connections begun after SIGTERM", r.Late)
	return errs
}

// table shows the figures to people.
func (r *report) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nfault\tmet\trollouts\trequests\tfailed\tdestroyed\twrong\tungraceful\tpremature\tdrained\tholds broken\ts\n")
	line := func(name string, x *tally) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d of %d\t%d\t%.0f\n", name, x.Met, x.Rollouts, x.Requests, x.Failed, x.Destroyed, x.WrongPod, x.WrongUngraceful, x.Premature, x.Drained, x.Terminated, x.HoldBroken, x.Seconds)
	}
	for _, name := range slices.Sorted(maps.Keys(r.ByFault)) {
		line(name, r.ByFault[name])
	}
	line("all", &r.tally)
	_ = t.Flush()
	fmt.Fprintf(w, "%d pods, %d of them on an address that another had before\n", r.Pods, r.AddressesReused)
}

// spread are quantiles of durations, in milliseconds.
type spread struct {
	P50 int64 `json:"p50"`
	P99 int64 `json:"p99"`
	Max int64 `json:"max"`
	N   int   `json:"n"`
}

func spreadOf(all []time.Duration) spread {
	if len(all) == 0 {
		return spread{}
	}
	slices.Sort(all)
	rank := func(percent int) int64 { return all[max((percent*len(all)+99)/100, 1)-1].Milliseconds() }
	return spread{P50: rank(50), P99: rank(99), Max: rank(100), N: len(all)}
}

// fence notes until when another answered in the place of a pod that was taken away.
func (r *report) fence(e evidence) {
	if r.fenced == nil {
		r.fenced = map[string]time.Duration{}
	}
	uid := e.flow.Label
	r.fenced[uid] = max(r.fenced[uid], e.sample.Ended.Sub(e.strike.at))
	r.FenceMS = spreadOf(slices.Collect(maps.Values(r.fenced)))
}
