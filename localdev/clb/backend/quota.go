package backend

import (
	"errors"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// Usage is a quota and how much of it is used; Used is negative where the API has none
// to say, as the quota isn't that of a region.
type Usage struct {
	ID          string
	Used, Limit int
}

// Quotas lists what DescribeQuota tells.
func (b *Backend) Quotas() []Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.opts.Quotas
	return []Usage{
		{"TOTAL_OPEN_CLB_QUOTA", b.count(Open), q.OpenCLBs},
		{"TOTAL_INTERNAL_CLB_QUOTA", b.count(Internal), q.InternalCLBs},
		{"TOTAL_LISTENER_QUOTA", -1, q.Listeners},
		{"TOTAL_LISTENER_RULE_QUOTA", -1, q.Rules},
		{"TOTAL_TARGET_BIND_QUOTA", -1, q.Targets},
	}
}

// message is the part of an error that goes where no code has a place.
func message(err error) string {
	var e *tc3.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}
