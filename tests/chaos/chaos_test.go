package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

// TestChaos is a part of the whole, of three minutes: random mixes, of another seed each
// time.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("rolling updates are left out by -short")
	}
	o := options{
		root: "../..", seed: uint64(time.Now().UnixNano()) % 1_000_000, limit: 100 * time.Second, pace: 1,
		log: filepath.Join(t.ArtifactDir(), "chaos.log"), faults: []string{mix},
	}
	p, err := schedule(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &report{Seed: o.seed, ByFault: map[string]*tally{}, ByKind: map[load.Kind]int{}}
	err = perform(t.Context(), o, p, r)
	r.table(os.Stdout)
	if err != nil {
		t.Error(err)
	}
	for _, err := range r.wrong(sites, 1) {
		t.Error(err)
	}
}
