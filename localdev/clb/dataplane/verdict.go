package dataplane

import "sync/atomic"

// State is what is known about the health of one binding, in the API's words
// (TargetHealth.HealthStatusDetail of DescribeTargetHealth).
type State int32

// The states of a binding.
const (
	// Unknown is a binding without a verdict yet. It gets no traffic: the health check
	// overview calls it "detecting".
	Unknown State = iota
	// Alive is a binding that passed HealthNum checks in a row.
	Alive
	// Dead is a binding that failed UnHealthNum checks in a row.
	Dead
	// Closed is a binding whose health check is switched off ("Close" in the API). It
	// gets traffic.
	Closed
)

// String gives the API's spelling.
func (s State) String() string {
	switch s {
	case Alive:
		return "Alive"
	case Dead:
		return "Dead"
	case Closed:
		return "Close"
	default:
		return "Unknown"
	}
}

// takesTraffic says whether new connections go to a binding in state s.
func (s State) takesTraffic() bool { return s == Alive || s == Closed }

// Verdict is what the health checks have found out about one binding of a target. A
// target that is bound anew gets a new Verdict: its identity is how the data plane
// tells a target that stayed from one that was unbound and bound again. The zero value
// is Unknown and ready.
type Verdict struct{ state atomic.Int32 }

// State reads the verdict; it may be called at any time from anywhere.
func (v *Verdict) State() State { return State(v.state.Load()) }

func (v *Verdict) set(s State) { v.state.Store(int32(s)) }
