package desired

import (
	"fmt"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/shared/model"
)

// The values of ReadinessPolicy: PolicyClosed, the default, or PolicyOpenAfter and a
// duration as Go writes it ("open-after=5m").
const (
	PolicyClosed    = "closed"
	PolicyOpenAfter = "open-after="
)

// Bounds of the duration: less than a health check may take to pass would open gates that
// nothing keeps shut, and what is more than a day nobody waits for.
const (
	MinOpenAfter = 30 * time.Second
	MaxOpenAfter = 24 * time.Hour
)

// OpenAfter is how long after its containers were ready a pod behind f may count as ready
// without the load balancer's word, if something of ours or the CLB API is away: 0 for
// never, which is also what a policy that can't be read means.
func OpenAfter(f *model.Front) (time.Duration, *Problem) {
	value, ok := f.Annotations[ReadinessPolicy]
	value = strings.TrimSpace(value)
	if !ok || value == "" || value == PolicyClosed {
		return 0, nil
	}
	if text, ok := strings.CutPrefix(value, PolicyOpenAfter); ok {
		if d, err := time.ParseDuration(text); err == nil && d >= MinOpenAfter && d <= MaxOpenAfter {
			return d, nil
		}
	}
	return 0, &Problem{Field: ReadinessPolicy, Message: fmt.Sprintf("is %q, must be %q, or %q and a duration from %s to 24h such as \"open-after=5m\"; until then it counts as %q",
		value, PolicyClosed, PolicyOpenAfter, MinOpenAfter, PolicyClosed)}
}

// Live tells whether f asks for gates that follow the CLB's health after they were first
// met, and not, as TKE has it, for ones that stay.
func Live(f *model.Front) (bool, *Problem) {
	switch value := strings.TrimSpace(f.Annotations[Readiness]); value {
	case "live":
		return true, nil
	case "", "sticky":
		return false, nil
	default:
		return false, &Problem{Field: Readiness, Message: fmt.Sprintf("is %q, must be \"live\" or \"sticky\"; until then it counts as \"sticky\"", value)}
	}
}

// GateProblems are what is wrong with what f says of its pods' gates. None keeps the rest
// from being done.
func GateProblems(f *model.Front) []Problem {
	var out []Problem
	if _, problem := OpenAfter(f); problem != nil {
		out = append(out, *problem)
	}
	if _, problem := Live(f); problem != nil {
		out = append(out, *problem)
	}
	return out
}
