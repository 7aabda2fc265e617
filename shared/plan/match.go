// Package plan compares what should be with what is and says which steps lead from
// one to the other, in which order. It only reads its arguments: no clients, no
// clock, no randomness, the same input gives the same plan in the same order.
//
// Three laws hold for every plan, and are tested as such: applying it to what was
// observed gives what was wanted; planning again gives nothing; it never touches
// what is not ours.
package plan

import (
	"slices"
)

// pair is something both wanted and observed.
type pair[W, O any] struct {
	Want W
	Have O
}

// match is the only diff there is: it sorts two sets into what both have, what is
// only wanted and what is only observed. Of several with one key the first counts.
// The results keep the order of their inputs.
func match[K comparable, W, O any](want []W, have []O, wantKey func(W) K, haveKey func(O) K) (both []pair[W, O], onlyWant []W, onlyHave []O) {
	at := make(map[K]int, len(have))
	for i, h := range have {
		if _, twice := at[haveKey(h)]; !twice {
			at[haveKey(h)] = i
		}
	}
	used := make([]bool, len(have))
	for _, w := range want {
		if i, ok := at[wantKey(w)]; ok {
			both = append(both, pair[W, O]{w, have[i]})
			used[i] = true
			continue
		}
		onlyWant = append(onlyWant, w)
	}
	for i, h := range have {
		if !used[i] {
			onlyHave = append(onlyHave, h)
		}
	}
	return both, onlyWant, onlyHave
}

// Batches cuts items into runs of at most size.
func Batches[T any](items []T, size int) [][]T {
	return slices.Collect(slices.Chunk(items, max(size, 1)))
}

// holder is who has what another wants.
type holder struct {
	name    string
	foreign bool
}

// loss is something wanted that another has.
type loss[W any] struct {
	want W
	by   holder
}

// contest grants each slot to the first who wants it, unless it is taken. Wanting the
// same thing by name is no contest: the first one's is granted, for both.
func contest[K comparable, W any](wanted []W, taken map[K]holder, slot func(W) K, name func(W) string) (granted []W, lost []loss[W]) {
	for _, w := range wanted {
		by, isTaken := taken[slot(w)]
		switch {
		case !isTaken:
			taken[slot(w)] = holder{name: name(w)}
			granted = append(granted, w)
		case by.foreign || by.name != name(w):
			lost = append(lost, loss[W]{w, by})
		}
	}
	return granted, lost
}
