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
