package index

import (
	"maps"
	"slices"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// frontendMatters tells whether a front's change is worth a pass of frontend. What
// frontend itself writes when all goes well is not: the first address, the
// finalizer, its notes.
func frontendMatters(old, now *front) bool {
	if old == nil {
		return true
	}
	return backendsMatter(old, now) ||
		old.problem != now.problem ||
		old.held && !now.held ||
		len(old.Addresses) > 0 && !slices.Equal(old.Addresses, now.Addresses)
}

// backendsMatter tells whether a front's change alters what should be bound. Of an
// Ingress any change of the spec may: even a TLS entry moves rules between listeners.
func backendsMatter(old, now *front) bool {
	return old == nil ||
		old.claimed != now.claimed ||
		old.balancer != now.balancer ||
		old.Deleting != now.Deleting ||
		old.Class != now.Class ||
		!sameSpec(old.Object, now.Object) ||
		!slices.EqualFunc(old.behind, now.behind, sameBackend) ||
		!maps.Equal(without(old.Annotations), without(now.Annotations))
}

// sameBackend tells whether two states of Services bind the same pods at the same
// ports.
func sameBackend(a, b *model.Service) bool {
	return a.Name == b.Name && maps.Equal(a.Selector, b.Selector) && slices.Equal(a.Ports, b.Ports)
}

// sameSpec compares the rest of what a user wrote.
func sameSpec(a, b desired.Object) bool {
	if a.Ingress == nil || b.Ingress == nil {
		return a.Service != nil && b.Service != nil && a.Service.Type == b.Service.Type
	}
	return sameDefault(a.Ingress.Default, b.Ingress.Default) &&
		slices.Equal(a.Ingress.Rules, b.Ingress.Rules) &&
		slices.EqualFunc(a.Ingress.TLS, b.Ingress.TLS, func(s, t model.IngressTLS) bool {
			return s.Secret == t.Secret && slices.Equal(s.Hosts, t.Hosts)
		})
}

func sameDefault(a, b *model.IngressBackend) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// own are annotations that say nothing to a function when they change: our own
// output, and kubectl's copy of everything else.
var own = []string{
	desired.ClientToken, desired.IngressClientToken, desired.Refused, desired.Rules,
	"kubectl.kubernetes.io/last-applied-configuration",
}

// without is annotations less our own.
func without(annotations map[string]string) map[string]string {
	out := maps.Clone(annotations)
	for _, k := range own {
		delete(out, k)
	}
	return out
}
