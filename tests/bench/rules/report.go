package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// maxRatio is how many times the floor it may take.
const maxRatio = 1.3

// report is every figure under its name. Times are seconds since the Ingress was
// created.
type report struct {
	Machine struct {
		CPUs int    `json:"cpus"`
		Go   string `json:"go"`
		// Load is the average of a minute, at the end, as Linux tells it.
		Load string `json:"load_average"`
	} `json:"machine"`
	// Calls are those of the functions until all was healthy.
	Calls      calls      `json:"calls"`
	Seconds    float64    `json:"seconds"`
	Floor      float64    `json:"floor_seconds"`
	Ratio      float64    `json:"ratio"`
	MaxRatio   float64    `json:"max_ratio"`
	FloorParts floorParts `json:"floor_parts_seconds"`
	Constants  constants  `json:"constants"`
	Milestones milestones `json:"milestones_seconds"`
	// Reached: all was healthy in the end. Met: and soon enough.
	Reached bool `json:"end_reached"`
	Met     bool `json:"demand_met"`
	// Lost counts targets that were healthy and for a while were not. All pods answer all
	// the time, so that is a machine too busy to check them within two seconds.
	Lost   int    `json:"healthy_lost_again"`
	Scenes scenes `json:"scenes"`
	// Writes and Passes tell where the time went.
	Writes []write `json:"writes"`
	Passes []pass  `json:"passes"`
}

type calls struct {
	Total int `json:"total"`
	// Refused were answered with an error, mostly because the CLB was busy.
	Refused  int            `json:"refused"`
	ByAction map[string]int `json:"by_action"`
}

// constants are what the floor is computed from, and what else bounds the functions.
type constants struct {
	Rules          int           `json:"rules"`
	Pods           int           `json:"pods"`
	Bindings       int           `json:"bindings"`
	RulesPerCall   int           `json:"rules_per_call"`
	TargetsPerCall int           `json:"targets_per_call"`
	Latencies      clb.Latencies `json:"latencies"`
	HealthNum      int           `json:"health_num"`
	HealthInterval float64       `json:"health_interval_seconds"`
	RequestRate    int           `json:"requests_per_second_and_action"`
	ColdStart      float64       `json:"cold_start_seconds"`
}

type milestones struct {
	Listener float64 `json:"listener_made"`
	Rules    float64 `json:"rules_made"`
	Bound    float64 `json:"bound"`
	Healthy  float64 `json:"healthy"`
}

type floorParts struct {
	Rules  float64 `json:"rules"`
	Bind   float64 `json:"bind"`
	Health float64 `json:"health"`
}

type scenes struct {
	OnePod *scene `json:"one_pod_replaced,omitempty"`
	Steady *scene `json:"steady,omitempty"`
}

type scene struct {
	Seconds float64 `json:"seconds,omitempty"`
	Calls   calls   `json:"calls"`
}

// write is a call that was to change something.
type write struct {
	Action  string  `json:"action"`
	At      float64 `json:"at"`
	Seconds float64 `json:"seconds"`
	Targets int     `json:"targets,omitempty"`
	Code    string  `json:"code,omitempty"`
}

// pass is an invocation of a function.
type pass struct {
	Function string  `json:"function"`
	At       float64 `json:"at"`
	Seconds  float64 `json:"seconds"`
	Cold     bool    `json:"cold,omitempty"`
	MemoryMB int64   `json:"peak_memory_mb"`
}

// floor is the least time that the API allows: rules by as many as a call takes, each
// call a task; targets likewise, each call leaving the CLB busy; and the health check
// of what was bound last, whose first round comes at any time within an interval.
func (c constants) floor() floorParts {
	task := (c.Latencies.Task.Min + c.Latencies.Task.Max).Seconds() / 2
	api, busy := c.Latencies.API.Seconds(), c.Latencies.Busy.Seconds()
	return floorParts{
		Rules:  float64(ceil(c.Rules, c.RulesPerCall)) * (api + task),
		Bind:   float64(ceil(c.Bindings, c.TargetsPerCall)) * (api + busy),
		Health: float64(c.HealthNum) * c.HealthInterval,
	}
}

func (p floorParts) sum() float64 { return p.Rules + p.Bind + p.Health }

func ceil(n, by int) int { return (n + by - 1) / by }

// conclude compares what was found with what is demanded.
func (r *report) conclude() {
	r.Machine.CPUs, r.Machine.Go = runtime.NumCPU(), runtime.Version()
	load, _ := os.ReadFile("/proc/loadavg") // without it nothing is told
	r.Machine.Load, _, _ = strings.Cut(string(load), " ")
	r.FloorParts = r.Constants.floor()
	r.Floor, r.MaxRatio = r.FloorParts.sum(), maxRatio
	if r.Floor > 0 {
		r.Ratio = r.Seconds / r.Floor
	}
	r.Met = r.Reached && r.Ratio <= maxRatio
}

// table writes the report for people.
func (r *report) table(w io.Writer) {
	c, l := r.Constants, r.Constants.Latencies
	fmt.Fprintf(w, "\n%d rules over %d pods on a load balancer that was there: %d bindings\n", c.Rules, c.Pods, c.Bindings)
	fmt.Fprintf(w, "(CreateLoadBalancer, %s, is not part of it; cold starts of functions, %g s, are)\n\n", l.Create, c.ColdStart)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, c)
		}
		fmt.Fprintln(t)
	}
	seconds := func(s float64) string { return fmt.Sprintf("%.2f s", s) }
	row("listener made", "after "+seconds(r.Milestones.Listener))
	row("rules made", "after "+seconds(r.Milestones.Rules))
	row("targets bound", "after "+seconds(r.Milestones.Bound))
	row("all healthy", "after "+seconds(r.Milestones.Healthy))
	row()
	for _, action := range slices.Sorted(maps.Keys(r.Calls.ByAction)) {
		row(action, r.Calls.ByAction[action])
	}
	row("calls", r.Calls.Total, fmt.Sprintf("of which %d were refused", r.Calls.Refused))
	row("passes", r.spent())
	row("this machine", fmt.Sprintf("%d CPUs, load %s", r.Machine.CPUs, r.Machine.Load))
	if r.Lost > 0 {
		row("", fmt.Sprintf("%d targets were healthy and then not, for a while: too busy to check them in time", r.Lost))
	}
	row()
	row("floor: rules", seconds(r.FloorParts.Rules), fmt.Sprintf("%d calls of %d rules x (API %s + task, on average of %s to %s)", ceil(c.Rules, c.RulesPerCall), c.RulesPerCall, l.API, l.Task.Min, l.Task.Max))
	row("floor: targets", seconds(r.FloorParts.Bind), fmt.Sprintf("%d calls of %d targets x (API %s + busy %s)", ceil(c.Bindings, c.TargetsPerCall), c.TargetsPerCall, l.API, l.Busy))
	row("floor: health", seconds(r.FloorParts.Health), fmt.Sprintf("%d checks, one each %g s, the first within %g s", c.HealthNum, c.HealthInterval, c.HealthInterval))
	row("floor", seconds(r.Floor))
	row("took", seconds(r.Seconds))
	verdict := "ok"
	if !r.Met {
		verdict = "NOT MET"
	}
	row("ratio", fmt.Sprintf("%.2f", r.Ratio), fmt.Sprintf("at most %.1f: %s", r.MaxRatio, verdict))
	row()
	if s := r.Scenes.OnePod; s != nil {
		row("one pod replaced", seconds(s.Seconds), fmt.Sprintf("%d calls, %d bindings", s.Calls.Total, c.Rules))
	}
	if s := r.Scenes.Steady; s != nil {
		row("nothing to do", fmt.Sprintf("%d calls", s.Calls.Total), "every pass once")
	}
	_ = t.Flush() // to a terminal; whether it is there is not ours to judge
}

// spent is how often and how long each function ran.
func (r *report) spent() string {
	times, took := map[string]int{}, map[string]float64{}
	for _, p := range r.Passes {
		times[p.Function]++
		took[p.Function] += p.Seconds
	}
	var out []string
	for _, f := range slices.Sorted(maps.Keys(times)) {
		out = append(out, fmt.Sprintf("%s %d times, %.1f s", f, times[f], took[f]))
	}
	return strings.Join(out, "; ")
}
