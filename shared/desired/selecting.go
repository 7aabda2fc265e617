package desired

import (
	"slices"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Selecting answers which Services select a pod without trying each: a pass over
// thousands of pods and tens of Services would spend its time on that.
type Selecting struct {
	// keys are the labels that byLabel goes by, in each namespace.
	keys    map[string][]string
	byLabel map[labelled][]*model.Service
}

// labelled is a label of a pod in a namespace.
type labelled struct{ namespace, key, value string }

// NewSelecting makes the index. A Service without a selector selects nothing.
func NewSelecting(services []*model.Service) Selecting {
	x := Selecting{keys: map[string][]string{}, byLabel: map[labelled][]*model.Service{}}
	for _, s := range services {
		if len(s.Selector) == 0 {
			continue
		}
		key := leastKey(s.Selector)
		if !slices.Contains(x.keys[s.Namespace], key) {
			x.keys[s.Namespace] = append(x.keys[s.Namespace], key)
		}
		at := labelled{s.Namespace, key, s.Selector[key]}
		x.byLabel[at] = append(x.byLabel[at], s)
	}
	return x
}

// Of lists the Services that select p.
func (x Selecting) Of(p *model.Pod) []*model.Service {
	var out []*model.Service
	for _, key := range x.keys[p.Namespace] {
		value, ok := p.Labels[key]
		if !ok {
			continue
		}
		for _, s := range x.byLabel[labelled{p.Namespace, key, value}] {
			if s.Selects(p.Namespace, p.Labels) {
				out = append(out, s)
			}
		}
	}
	return out
}

// leastKey is one of the labels of a selector, always the same one.
func leastKey(selector map[string]string) string {
	least, first := "", true
	for k := range selector {
		if first || k < least {
			least, first = k, false
		}
	}
	return least
}

// Selected answers which backings select a pod.
type Selected struct {
	services Selecting
	backings map[*model.Service][]*Backing
}

// NewSelected makes the index. Backings without a Service select nothing.
func NewSelected(backings []Backing) Selected {
	x := Selected{backings: map[*model.Service][]*Backing{}}
	var services []*model.Service
	for i := range backings {
		b := &backings[i]
		if b.Service == nil {
			continue
		}
		if _, known := x.backings[b.Service]; !known {
			services = append(services, b.Service)
		}
		x.backings[b.Service] = append(x.backings[b.Service], b)
	}
	x.services = NewSelecting(services)
	return x
}

// Of lists the backings that select p.
func (x Selected) Of(p *model.Pod) []*Backing {
	var out []*Backing
	for _, s := range x.services.Of(p) {
		out = append(out, x.backings[s]...)
	}
	return out
}

// Services are those behind the backings.
func (x Selected) Services() []*model.Service {
	out := make([]*model.Service, 0, len(x.backings))
	for s := range x.backings {
		out = append(out, s)
	}
	return out
}

// ServicesOf lists the Services behind backings that select p.
func (x Selected) ServicesOf(p *model.Pod) []*model.Service { return x.services.Of(p) }
