package clb

import (
	"slices"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// action is one API action.
type action struct {
	write   bool
	request func() any
	run     func(s *Server, op backend.Op, request any) (any, error)
}

// actions are those that the emulator has.
var actions = map[string]action{
	"CreateLoadBalancer":            writes((*Server).createLoadBalancer),
	"DescribeLoadBalancers":         reads((*Server).describeLoadBalancers),
	"DeleteLoadBalancer":            writes((*Server).deleteLoadBalancer),
	"ModifyLoadBalancerAttributes":  writes((*Server).modifyLoadBalancer),
	"SetLoadBalancerSecurityGroups": writes((*Server).setSecurityGroups),
	"CreateListener":                writes((*Server).createListener),
	"DescribeListeners":             reads((*Server).describeListeners),
	"ModifyListener":                writes((*Server).modifyListener),
	"DeleteListener":                writes((*Server).deleteListener),
	"DeleteLoadBalancerListeners":   writes((*Server).deleteListeners),
	"CreateRule":                    writes((*Server).createRule),
	"ModifyRule":                    writes((*Server).modifyRule),
	"DeleteRule":                    writes((*Server).deleteRule),
	"ModifyDomain":                  writes((*Server).modifyDomain),
	"ModifyDomainAttributes":        writes((*Server).modifyDomainAttributes),
	"AutoRewrite":                   writes((*Server).autoRewrite),
	"ManualRewrite":                 writes((*Server).manualRewrite),
	"DescribeRewrite":               reads((*Server).describeRewrite),
	"DeleteRewrite":                 writes((*Server).deleteRewrite),
	"RegisterTargets":               writes((*Server).registerTargets),
	"DeregisterTargets":             writes((*Server).deregisterTargets),
	"BatchRegisterTargets":          writes((*Server).batchRegisterTargets),
	"BatchDeregisterTargets":        writes((*Server).batchDeregisterTargets),
	"ModifyTargetWeight":            writes((*Server).modifyTargetWeight),
	"BatchModifyTargetWeight":       writes((*Server).batchModifyTargetWeight),
	"BatchModifyTargetTag":          writes((*Server).batchModifyTargetTag),
	"DescribeTargets":               reads((*Server).describeTargets),
	"DescribeLBListeners":           reads((*Server).describeLBListeners),
	"DescribeTargetHealth":          reads((*Server).describeTargetHealth),
	"DescribeTaskStatus":            reads((*Server).describeTaskStatus),
	"DescribeQuota":                 reads((*Server).describeQuota),
}

func writes[Q, A any](run func(*Server, backend.Op, *Q) (*A, error)) action {
	return action{
		write:   true,
		request: func() any { return new(Q) },
		run: func(s *Server, op backend.Op, request any) (any, error) {
			return run(s, op, request.(*Q))
		},
	}
}

func reads[Q, A any](run func(*Server, *Q) (*A, error)) action {
	a := writes(func(s *Server, _ backend.Op, q *Q) (*A, error) { return run(s, q) })
	a.write = false
	return a
}

// empty is the answer of actions that answer nothing but their request id.
type empty struct{}

// need fails for required parameters that are missing: pairs of name and presence.
type need struct {
	name    string
	present bool
}

func required(needs ...need) error {
	for _, n := range needs {
		if !n.present {
			return failure("MissingParameter", "The request is missing the required parameter `%s`.", n.name)
		}
	}
	return nil
}

func id(name string, p *string) need          { return need{name, value(p) != ""} }
func list[T any](name string, items []T) need { return need{name, len(items) > 0} }

// atMost limits the length of a list.
func atMost[T any](name string, items []T, limit int) error {
	if len(items) > limit {
		return failure("InvalidParameterValue.Length", "Length of `.%s` should be less than or equal to %d, it is %d.", name, limit, len(items))
	}
	return nil
}

// within checks a number that may be missing.
func within(name string, p *int64, low, high int64) error {
	if p != nil && (*p < low || *p > high) {
		return failure("InvalidParameterValue", "The value of `%s` should be in the range [%d, %d], it is %d.", name, low, high, *p)
	}
	return nil
}

// among checks a word that may be missing.
func among(name string, p *string, words ...string) error {
	if p != nil && !slices.Contains(words, *p) {
		return failure("InvalidParameterValue", "The value of `%s` should be one of %v, it is %q.", name, words, *p)
	}
	return nil
}

// unsupported fails for the first parameter given that the emulator doesn't have.
func unsupported(given ...need) error {
	for _, g := range given {
		if g.present {
			return failure("UnsupportedOperation", "The emulator does not support parameter `%s`.", g.name)
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// deref reads a list of ids.
func deref(ids []*string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = value(id)
	}
	return out
}
