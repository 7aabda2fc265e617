package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/localdev/demo"
	"github.com/clb-direct/clb-direct/localdev/record"
)

// book has the reports that there are; nil is one that was never measured.
type book struct {
	Demo        *demoReport
	DemoIngress *demoIngressReport
	Rollout     *demo.RolloutReport
	Kubelet     *kubeletReport
	Bench       *benchReport
	Rules       *rulesReport
	Forwarder   *forwarderReport
	Soak        *soakReport
	Emulator    *emulatorReport
	Lifecycle   *lifecycleReport
	Drift       *driftReport
	Chaos       *chaosReport
	Conformance *conformanceReport
	Mutants     *mutantsReport
	Model       *modelReport

	// Measured says, by the report's name, when and on what.
	Measured map[string]record.Measured
}

// slots are where each report goes, by its name.
func (b *book) slots() map[string]any {
	return map[string]any{
		"demo": &b.Demo, "demo-ingress": &b.DemoIngress, "rollout": &b.Rollout, "e2e-kubelet": &b.Kubelet, "bench": &b.Bench,
		"bench-rules": &b.Rules, "bench-forwarder": &b.Forwarder, "soak": &b.Soak, "bench-emulator": &b.Emulator, "lifecycle": &b.Lifecycle,
		"drift": &b.Drift, "chaos": &b.Chaos, "conformance": &b.Conformance, "conformance-mutants": &b.Mutants, "model": &b.Model,
	}
}

// names are those of all reports.
func names() []string { return slices.Sorted(maps.Keys(new(book).slots())) }

// read reads the reports that a folder has.
func read(dir string) (*book, error) {
	b := &book{Measured: map[string]record.Measured{}}
	for _, name := range names() {
		raw, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading what was measured: %w", err)
		}
		if _, err := b.take(name, raw); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// take puts a report into its slot and gives what is kept of it: the fields that a page or
// plot is made from. It is an error if one of them isn't there.
func (b *book) take(name string, raw []byte) (kept any, err error) {
	slot := b.slots()[name]
	var at struct {
		Measured record.Measured `json:"measured"`
	}
	if err := errors.Join(json.Unmarshal(raw, slot), json.Unmarshal(raw, &at)); err != nil {
		return nil, fmt.Errorf("reading %s.json: %w", name, err)
	}
	if err := missing(slot, raw); err != nil {
		return nil, fmt.Errorf("reading %s.json: %w", name, err)
	}
	b.Measured[name] = at.Measured
	return slot, nil
}

// missing tells the first field that is read of a report and that it hasn't got, which
// would else pass for a 0.
func missing(read any, raw []byte) error {
	again, err := json.Marshal(read)
	if err != nil {
		return err
	}
	var want, got any
	if err := errors.Join(json.Unmarshal(again, &want), json.Unmarshal(raw, &got)); err != nil {
		return err
	}
	return lacks("", want, got)
}

func lacks(path string, want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		has, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%q must be an object", path)
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			below := path + "." + name
			v, ok := has[name]
			if !ok {
				return fmt.Errorf("it has no field %q: it was measured by another version, measure again", below[1:])
			}
			if err := lacks(below, want[name], v); err != nil {
				return err
			}
		}
	case []any:
		has, ok := got.([]any)
		if !ok || len(has) != len(want) {
			return fmt.Errorf("%q must be a list", path)
		}
		for i := range want {
			if err := lacks(fmt.Sprintf("%s[%d]", path, i), want[i], has[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxKept is the most that is kept of a report, in bytes.
const maxKept = 200 << 10

// source is where reports come from.
type source struct {
	dir string
	// commit is that of reports which don't say theirs; "" if it isn't known.
	commit string
}

// collect copies what is needed of reports to a folder, and tells which were. What isn't
// there, is older than what is kept, or can't be used, leaves what is kept as it is.
func (s source) collect(to string) (taken, older []string, err error) {
	var errs []error
	for _, name := range names() {
		what, err := s.one(name, to)
		switch {
		case err != nil:
			errs = append(errs, err)
		case what == fresh:
			taken = append(taken, name)
		case what == stale:
			older = append(older, name)
		}
	}
	return taken, older, errors.Join(errs...)
}

// found is what there is of a report.
type found int

const (
	nothing found = iota
	stale
	fresh
)

func (s source) one(name, to string) (found, error) {
	from := filepath.Join(s.dir, name+".json")
	to = filepath.Join(to, name+".json")
	raw, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nothing, nil
	}
	if err != nil {
		return nothing, fmt.Errorf("reading what was measured: %w", err)
	}
	b := &book{Measured: map[string]record.Measured{}}
	kept, err := b.take(name, raw)
	if err != nil {
		return nothing, err
	}
	at := b.Measured[name]
	if at.At.IsZero() {
		info, err := os.Stat(from)
		if err != nil {
			return nothing, fmt.Errorf("reading what was measured: %w", err)
		}
		at = record.Measured{At: info.ModTime().UTC().Truncate(time.Second), Commit: s.commit}
	}
	if before, err := os.ReadFile(to); err == nil {
		old := &book{Measured: map[string]record.Measured{}} // of its own: kept points into b
		if _, err := old.take(name, before); err == nil && at.At.Before(old.Measured[name].At) {
			return stale, nil
		}
	}
	short, err := record.Encode(kept, at)
	if err != nil {
		return nothing, fmt.Errorf("keeping %s.json: %w", name, err)
	}
	if len(short) > maxKept {
		return nothing, fmt.Errorf("keeping %s.json: what is needed of it has %d bytes, at most %d are kept", name, len(short), maxKept)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return nothing, fmt.Errorf("keeping %s.json: %w", name, err)
	}
	if err := os.WriteFile(to, short, 0o644); err != nil {
		return nothing, fmt.Errorf("keeping %s.json: %w", name, err)
	}
	return fresh, nil
}
