package cam

import (
	"fmt"
	"slices"
)

// UIN is the main account that everything emulated belongs to.
const UIN = "100000000001"

// Resource is the six-part name of one of the account's: a service's abbreviation, a
// region and, for example, "clb/lb-12345678".
func Resource(service, region, name string) string {
	return fmt.Sprintf("qcs::%s:%s:uin/%s:%s", service, region, UIN, name)
}

// Request is what somebody wants to do.
type Request struct {
	// Action is its name with the service's, such as clb:RegisterTargets.
	Action string
	// Resources are all that it touches, as Resource makes them. None makes it an
	// operation-level action.
	Resources []string
}

// Denied is the error of a request that is not allowed: the first resource that it is
// not allowed on, "*" for an operation-level action.
type Denied struct{ Action, Resource string }

// Error is the message as services of the cloud give it.
func (d *Denied) Error() string {
	return fmt.Sprintf("you are not authorized to perform operation (%s)\nresource (%s) has no permission\n", d.Action, d.Resource)
}

// Authorize asks the policies of somebody together: nil, or what is denied.
func Authorize(policies []Policy, q Request) *Denied {
	resources := q.Resources
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	for _, resource := range resources {
		if !allows(policies, q.Action, resource) {
			return &Denied{Action: q.Action, Resource: resource}
		}
	}
	return nil
}

func allows(policies []Policy, action, resource string) bool {
	allowed := false
	for _, p := range policies {
		for _, s := range p.statements {
			if !s.speaksOf(action, resource) {
				continue
			}
			if s.deny {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

func (s statement) speaksOf(action, resource string) bool {
	return slices.ContainsFunc(s.actions, func(a string) bool { return like(a, action) }) &&
		slices.ContainsFunc(s.resources, func(p pattern) bool { return p.describes(resource) })
}
