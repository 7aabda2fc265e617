package backend

import (
	"encoding/json"
	"time"
)

// Range is what a latency is drawn from, evenly.
type Range struct{ Min, Max time.Duration }

// Latencies are how long things take that take time on the real CLB. All zero is as
// fast as the emulator can. In JSON they are milliseconds.
type Latencies struct {
	// API is how long a request waits before it is looked at.
	API time.Duration
	// Task is how long an asynchronous action takes.
	Task Range
	// Busy is how long after a write a load balancer refuses the next.
	Busy time.Duration
	// Propagation is how long a change takes to reach the data plane.
	Propagation Range
	// Create is how long CreateLoadBalancer takes until the instance has an address.
	Create time.Duration
}

// DefaultLatencies are within what users of the real service report.
func DefaultLatencies() Latencies {
	return Latencies{
		API:         80 * time.Millisecond,
		Task:        Range{500 * time.Millisecond, 1500 * time.Millisecond},
		Busy:        300 * time.Millisecond,
		Propagation: Range{200 * time.Millisecond, time.Second},
		Create:      5 * time.Second,
	}
}

// latenciesJSON is Latencies in a report, in milliseconds.
type latenciesJSON struct {
	API         float64    `json:"api_ms"`
	Task        [2]float64 `json:"task_ms"`
	Busy        float64    `json:"busy_after_write_ms"`
	Propagation [2]float64 `json:"propagation_ms"`
	Create      float64    `json:"create_load_balancer_ms"`
}

// MarshalJSON writes milliseconds; ranges are [min, max].
func (l Latencies) MarshalJSON() ([]byte, error) {
	return json.Marshal(latenciesJSON{
		API:         ms(l.API),
		Task:        [2]float64{ms(l.Task.Min), ms(l.Task.Max)},
		Busy:        ms(l.Busy),
		Propagation: [2]float64{ms(l.Propagation.Min), ms(l.Propagation.Max)},
		Create:      ms(l.Create),
	})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (l *Latencies) UnmarshalJSON(data []byte) error {
	var j latenciesJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*l = Latencies{
		API:         duration(j.API),
		Task:        Range{duration(j.Task[0]), duration(j.Task[1])},
		Busy:        duration(j.Busy),
		Propagation: Range{duration(j.Propagation[0]), duration(j.Propagation[1])},
		Create:      duration(j.Create),
	}
	return nil
}

func ms(d time.Duration) float64        { return float64(d) / float64(time.Millisecond) }
func duration(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// Quotas are the limits that an account has and that support can raise.
type Quotas struct {
	// OpenCLBs and InternalCLBs count instances of a region, Listeners those of an
	// instance, Rules those of a listener, Targets those of a listener or rule.
	OpenCLBs, InternalCLBs, Listeners, Rules, Targets int
	// Deletions is how many instances may be deleted within five minutes without
	// tripping the risk check (DeleteLoadBalancer).
	Deletions int
}

// DefaultQuotas are those of a sample account (DescribeQuota) and of the DeleteLoadBalancer
// documentation.
func DefaultQuotas() Quotas {
	return Quotas{OpenCLBs: 100, InternalCLBs: 200, Listeners: 50, Rules: 50, Targets: 200, Deletions: 30}
}
