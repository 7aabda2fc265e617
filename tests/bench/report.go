package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"
	"time"
)

// What is demanded.
const (
	maxGrowth = 12.0 // time of a pass, from 1,000 to 10,000 pods
	maxOnePod = 2.0  // time of a pass over one pod, among 10,000 and among 100
)

// report is every figure under its name. Sizes are the keys "100", "1000", "10000".
type report struct {
	Machine struct {
		CPUs int    `json:"cpus"`
		Go   string `json:"go"`
	} `json:"machine"`
	Seconds float64 `json:"seconds"`
	// Planner and Passes are by name, then size.
	Planner map[string]map[string]plannerFigures `json:"planner"`
	Passes  map[string]map[string]*passFigures   `json:"passes"`
	// Memory is by function, then size; ColdStart, by function, from an event without
	// an instance to its answer.
	Memory    map[string]map[string]memoryFigures `json:"peak_resident_memory"`
	ColdStart map[string]*coldFigures             `json:"cold_start_to_first_answer"`
	// Growth is by pass: the median ratio of 10,000 pods to 1,000. OnePod is that of
	// 10,000 pods to 100, where one changed.
	Growth  map[string]float64 `json:"growth_1000_to_10000"`
	OnePod  map[string]float64 `json:"one_pod_10000_to_100"`
	Demands []demand           `json:"demands"`
	Met     bool               `json:"demands_met"`
}

type plannerFigures struct {
	NsPerOp     int64 `json:"ns_per_op"`
	AllocsPerOp int64 `json:"allocs_per_op"`
	BytesPerOp  int64 `json:"bytes_per_op"`
}

// passFigures are medians over the runs, and each run's time.
type passFigures struct {
	Millis     float64        `json:"ms"`
	Allocs     int64          `json:"allocs"`
	AllocBytes int64          `json:"alloc_bytes"`
	BytesRead  int64          `json:"api_server_bytes_read"`
	HandOvers  int            `json:"hand_overs"`
	CLBCalls   map[string]int `json:"clb_calls"`
	RunsMillis []float64      `json:"runs_ms"`

	runs []outcome
}

type memoryFigures struct {
	MB      float64 `json:"mb"`
	LimitMB int     `json:"limit_mb"`
	// Ended is how the platform ended the instance, "" if it didn't.
	Ended string `json:"ended,omitempty"`
}

type coldFigures struct {
	Millis     float64   `json:"ms"`
	RunsMillis []float64 `json:"runs_ms"`
}

// demand is a limit and what was found.
type demand struct {
	Name  string  `json:"name"`
	Limit float64 `json:"limit"`
	Got   float64 `json:"got"`
	Met   bool    `json:"met"`
}

func newReport() *report {
	r := &report{
		Planner: map[string]map[string]plannerFigures{}, Passes: map[string]map[string]*passFigures{},
		Memory: map[string]map[string]memoryFigures{}, ColdStart: map[string]*coldFigures{},
		Growth: map[string]float64{}, OnePod: map[string]float64{},
	}
	r.Machine.CPUs, r.Machine.Go = runtime.NumCPU(), runtime.Version()
	return r
}

func (r *report) addPlanner(name string, size int, b testing.BenchmarkResult) {
	if r.Planner[name] == nil {
		r.Planner[name] = map[string]plannerFigures{}
	}
	r.Planner[name][strconv.Itoa(size)] = plannerFigures{b.NsPerOp(), b.AllocsPerOp(), b.AllocedBytesPerOp()}
}

// add books a run of a pass.
func (r *report) add(kind string, size int, o outcome) {
	if r.Passes[kind] == nil {
		r.Passes[kind] = map[string]*passFigures{}
	}
	f := r.Passes[kind][strconv.Itoa(size)]
	if f == nil {
		f = &passFigures{}
		r.Passes[kind][strconv.Itoa(size)] = f
	}
	f.runs = append(f.runs, o)
	f.RunsMillis = append(f.RunsMillis, elapsed(time.Duration(o.Nanos)))
	f.Millis = median(f.RunsMillis)
	f.Allocs = medianOf(f.runs, func(o outcome) int64 { return int64(o.Allocs) })
	f.AllocBytes = medianOf(f.runs, func(o outcome) int64 { return int64(o.Bytes) })
	f.BytesRead = medianOf(f.runs, func(o outcome) int64 { return o.BytesRead })
	f.HandOvers = medianOf(f.runs, func(o outcome) int { return o.Passes - 1 })
	f.CLBCalls = o.Calls
}

func (r *report) remember(function string, size int, bytes int64, ended string) {
	if r.Memory[function] == nil {
		r.Memory[function] = map[string]memoryFigures{}
	}
	r.Memory[function][strconv.Itoa(size)] = memoryFigures{float64(bytes) / (1 << 20), memory(size), ended}
}

func (r *report) coldStart(function string, millis float64) {
	f := r.ColdStart[function]
	if f == nil {
		f = &coldFigures{}
		r.ColdStart[function] = f
	}
	f.RunsMillis = append(f.RunsMillis, millis)
	f.Millis = median(f.RunsMillis)
}

// conclude compares what was found with what is demanded. A figure that is missing
// doesn't meet its demand.
func (r *report) conclude() {
	r.Demands, r.Met = nil, true
	need := func(name string, got, limit float64, sound bool) {
		d := demand{name, limit, got, sound && got > 0 && got <= limit}
		r.Demands = append(r.Demands, d)
		r.Met = r.Met && d.Met
	}
	for _, kind := range kinds {
		r.Growth[kind] = r.ratio(kind, 10_000, 1_000)
		need("growth of "+kind+" from 1,000 to 10,000 pods", r.Growth[kind], maxGrowth, true)
	}
	for _, kind := range []string{bindOne, openOne} {
		r.OnePod[kind] = r.ratio(kind, 10_000, 100)
		need(kind+" among 10,000 pods, over among 100", r.OnePod[kind], maxOnePod, true)
	}
	for _, function := range []string{"backends", "readiness"} {
		for _, size := range sizes {
			f := r.Memory[function][strconv.Itoa(size)]
			need(fmt.Sprintf("memory of %s at %d pods, in MB", function, size), f.MB, float64(memory(size)), f.Ended == "")
		}
	}
}

// ratio is the median, over the rounds, of the time at one size over that at another;
// that of the medians where the sizes had different numbers of turns.
func (r *report) ratio(kind string, size, to int) float64 {
	a, b := r.Passes[kind][strconv.Itoa(size)], r.Passes[kind][strconv.Itoa(to)]
	if a == nil || b == nil {
		return 0
	}
	if len(a.RunsMillis) != len(b.RunsMillis) {
		return a.Millis / b.Millis
	}
	var ratios []float64
	for i := range a.RunsMillis {
		ratios = append(ratios, a.RunsMillis[i]/b.RunsMillis[i])
	}
	return median(ratios)
}

// median of values, the mean of the middle two where their number is even.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// medianOf is the lower median of something of each run.
func medianOf[N cmp.Ordered](runs []outcome, of func(outcome) N) N {
	var values []N
	for _, o := range runs {
		values = append(values, of(o))
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// table writes the report for people.
func (r *report) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(t, "%v\t", c)
		}
		fmt.Fprintln(t)
	}
	row("planner", "pods", "µs", "allocs", "KB allocated")
	for _, p := range planners {
		for _, size := range sizes {
			f := r.Planner[p.name][strconv.Itoa(size)]
			row(p.name, size, fixed(float64(f.NsPerOp)/1e3, 1), f.AllocsPerOp, f.BytesPerOp>>10)
		}
	}
	row()
	row("pass", "pods", "ms", "runs", "allocs", "MB allocated", "KB read of API server", "CLB calls", "hand-overs")
	for _, kind := range kinds {
		for _, size := range sizes {
			f := r.Passes[kind][strconv.Itoa(size)]
			if f == nil {
				continue
			}
			calls := 0
			for _, n := range f.CLBCalls {
				calls += n
			}
			row(kind, size, fixed(f.Millis, 1), len(f.runs), f.Allocs, fixed(float64(f.AllocBytes)/(1<<20), 1), f.BytesRead>>10, calls, f.HandOvers)
		}
	}
	row()
	row("packaged function", "pods", "peak MB", "of MB", "cold start ms")
	for _, function := range slices.Sorted(maps.Keys(r.Memory)) {
		for i, size := range sizes {
			f, cold := r.Memory[function][strconv.Itoa(size)], ""
			if c := r.ColdStart[function]; c != nil && i == 0 {
				cold = fixed(c.Millis, 0)
			}
			row(function, size, fixed(f.MB, 1), f.LimitMB, cold)
		}
	}
	row()
	row("demand", "limit", "got", "")
	for _, d := range r.Demands {
		verdict := "ok"
		if !d.Met {
			verdict = "NOT MET"
		}
		row(d.Name, d.Limit, fixed(d.Got, 2), verdict)
	}
	_ = t.Flush() // to a terminal; whether it is there is not ours to judge
}

func fixed(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
