package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// The kinds of changes.
const (
	deleted  = "targets deleted"
	added    = "targets added"
	weighted = "targets re-weighted"
	tagged   = "targets re-tagged"
	listener = "listener removed"
	rule     = "rule removed"
	foreign  = "foreign listener added"
)

// often is how many changes of each kind are made, at least three.
var often = map[string]int{deleted: 4, added: 4, weighted: 4, tagged: 4, listener: 4, rule: 3, foreign: 3}

// kinds are they, in an order to draw from.
var kinds = []string{deleted, added, weighted, tagged, listener, rule, foreign}

// wish is a change to be made.
type wish struct {
	kind string
	// where is the name of the place; for somebody else's listener, of its CLB.
	where string
}

// layer7 tells whether a place's name is that of a layer-7 listener, or a rule.
func layer7(name string) bool { return strings.Contains(name, " HTTP:") }

func isRule(name string) bool { return strings.Contains(name, "/") }

// wishes draws the changes and their order: each kind as often as it must be, over all
// the places where it can be made by turns.
func wishes(r *rand.Rand, places, balancers []string) []wish {
	var out []wish
	for _, kind := range kinds {
		var at []string
		for _, name := range places {
			switch kind {
			case listener:
				if !isRule(name) {
					at = append(at, name)
				}
			case rule:
				if isRule(name) {
					at = append(at, name)
				}
			default: // where targets are
				if isRule(name) || !layer7(name) {
					at = append(at, name)
				}
			}
		}
		if kind == foreign {
			at = slices.Clone(balancers)
		}
		r.Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
		for i := range often[kind] {
			out = append(out, wish{kind, at[i%len(at)]})
		}
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// reach are the places, of all there are, that a wish changes or may change: a listener's
// rules with it, and the other rules of a rule's listener, as one of them may become the
// default.
func (w wish) reach(places []string) []string {
	var out []string
	whole, _, _ := strings.Cut(w.where, "/")
	if isRule(w.where) {
		whole = whole[:strings.LastIndexByte(whole, ' ')]
	}
	for _, name := range places {
		switch {
		case w.kind == foreign:
		case name == w.where, (w.kind == listener || w.kind == rule) && strings.HasPrefix(name, whole+" "):
			out = append(out, name)
		}
	}
	return out
}

// maker makes wishes come true.
type maker struct {
	*console
	rand *rand.Rand
	next int
}

// stranger is a backend that nobody of ours knows.
func (m *maker) stranger() model.Target {
	m.next++
	return model.Target{Address: model.Address{IP: fmt.Sprintf("127.99.0.%d", m.next), Port: 80}, Weight: 10}
}

// some are one to all of the targets, drawn.
func (m *maker) some(targets []model.Target) []model.Target {
	out := slices.Clone(targets)
	m.rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:1+m.rand.IntN(len(out))]
}

// uid is that of a pod that there isn't.
func (m *maker) uid() string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", m.rand.Uint32(), m.rand.Uint64()>>16)
}

// change makes a change of what is held at a place of ours, and says what it was.
func (m *maker) change(ctx context.Context, kind string, at holding) (detail string, err error) {
	all := len(at.targets)
	switch kind {
	case deleted:
		ts := m.some(at.targets)
		return fmt.Sprintf("%d of %d", len(ts), all), m.deregister(ctx, at.place, ts)
	case added:
		t := m.stranger()
		return t.Address.String(), m.register(ctx, at.place, []model.Target{t})
	case weighted:
		ts, weight := m.some(at.targets), []int{0, 1, 55, 100}[m.rand.IntN(4)]
		for i := range ts {
			ts[i].Weight = weight
		}
		return fmt.Sprintf("%d of %d to %d", len(ts), all, weight), m.weigh(ctx, at.place, ts)
	case tagged:
		ts := m.some(at.targets)
		tag, words := "by-hand", "to words"
		if m.rand.IntN(2) == 0 {
			tag, words = m.uid(), "to another pod's"
		}
		for i := range ts {
			ts[i].Tag = tag
		}
		return fmt.Sprintf("%d of %d %s", len(ts), all, words), m.tag(ctx, at.place, ts)
	case listener:
		return fmt.Sprintf("with %d targets", all), m.deleteListener(ctx, at.place)
	case rule:
		return fmt.Sprintf("with %d targets", all), m.deleteRule(ctx, at.place)
	}
	return "", fmt.Errorf("there is no kind %q", kind)
}

// add makes a listener of somebody else's with a backend, and says its port.
func (m *maker) add(ctx context.Context, lb string) (port int, err error) {
	t := m.stranger()
	port = 9000 + m.next
	id, err := m.createListener(ctx, lb, fmt.Sprintf("somebody-elses-%d", m.next), port)
	if err != nil {
		return 0, err
	}
	return port, m.register(ctx, place{lb, model.Place{Listener: id}}, []model.Target{t})
}
