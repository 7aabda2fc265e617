package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

// The states of a test, as events name them.
const (
	passed  = "pass"
	failed  = "fail"
	skipped = "skip"
)

// observed is what a disputed fact says on the cloud: which profile is right.
var observed = regexp.MustCompile(`observed: ("(?:[^"\\]|\\.)*")`)

// key is a case: the names of its section and its own.
type key struct{ section, name string }

// parts tells which case a test is of; not a case is what is above one.
func parts(test string) (k key, found bool) {
	names := strings.SplitN(strings.ReplaceAll(test, "_", " "), "/", 4)
	if len(names) < 3 {
		return key{}, false
	}
	return key{names[1], names[2]}, true
}

// suite collects what events tell.
type suite struct {
	// tests are the states of all tests, "" for one that hasn't ended.
	tests    map[string]string
	output   map[string][]string
	observed map[key]string
	// ended is the state of the package.
	ended string
}

func newSuite() *suite {
	return &suite{tests: map[string]string{}, output: map[string][]string{}, observed: map[key]string{}}
}

// read takes all events, showing what ends as it does.
func (s *suite) read(r io.Reader, w io.Writer) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				// The go command itself speaks plain text, of what doesn't build for one.
				fmt.Fprintf(w, "%s\n", strings.TrimSpace(string(line)))
			} else {
				s.take(e, w)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the events: %w", err)
		}
	}
	if s.ended == "" {
		return errors.New("the suite has not come to its end")
	}
	return nil
}

// take notes an event.
func (s *suite) take(e event, w io.Writer) {
	switch e.Action {
	case "run":
		s.tests[e.Test] = ""
	case "output", "build-output":
		s.say(e, w)
	case passed, failed, skipped:
		if e.Test == "" {
			s.ended = e.Action
			return
		}
		s.tests[e.Test] = e.Action
		s.show(e, w)
	}
}

// say keeps what a test prints until it is known whether it fails. What is of no test,
// such as a build error or a panic, is shown at once.
func (s *suite) say(e event, w io.Writer) {
	if e.Test == "" {
		if text := strings.TrimSpace(e.Output); text != "" && text != "PASS" && text != "FAIL" {
			fmt.Fprint(w, e.Output)
		}
		return
	}
	s.output[e.Test] = append(s.output[e.Test], e.Output)
	k, found := parts(e.Test)
	if m := observed.FindStringSubmatch(e.Output); found && m != nil {
		s.observed[k] = m[1]
	}
}

// show writes a line for each test that ends and is a case or below one, and why it
// failed.
func (s *suite) show(e event, w io.Writer) {
	k, found := parts(e.Test)
	if found {
		mark := map[string]string{passed: "ok  ", failed: "FAIL", skipped: "skip"}[e.Action]
		name := k.name
		if names := strings.SplitN(e.Test, "/", 4); len(names) == 4 {
			name += " (" + strings.ReplaceAll(names[3], "_", " ") + ")"
		}
		fmt.Fprintf(w, "%s %6.2f s  %s: %s\n", mark, e.Elapsed, k.section, name)
	}
	if e.Action == passed {
		delete(s.output, e.Test)
		return
	}
	for _, line := range s.output[e.Test] {
		if text := strings.TrimSpace(line); strings.HasPrefix(text, "=== ") || strings.HasPrefix(text, "--- ") {
			continue
		}
		fmt.Fprint(w, "     ", line)
	}
}

// report sums up.
func (s *suite) report() *report {
	states := map[key]string{}
	var above []string // tests above cases that fail, perhaps by themselves
	for _, test := range slices.Sorted(maps.Keys(s.tests)) {
		state := s.tests[test]
		if state == "" {
			state = failed // it was cut off
		}
		k, found := parts(test)
		switch {
		case !found && state == failed:
			above = append(above, test)
		case found && (states[k] == "" || worse(state, states[k])):
			states[k] = state
		}
	}

	r := &report{BySection: map[string]*section{}, Observed: map[string]string{}, Ended: s.ended == passed}
	for _, k := range slices.SortedFunc(maps.Keys(states), func(a, b key) int {
		return strings.Compare(a.section+"\x00"+a.name, b.section+"\x00"+b.name)
	}) {
		r.add(k, states[k])
	}
	for k, answer := range s.observed {
		r.Observed[k.section+": "+k.name] = answer
	}
	if r.Cases == r.Passed+r.Skipped {
		r.Failures = append(r.Failures, above...)
	}
	return r
}

// worse orders the states of tests that are one case: it has passed if none failed and
// not all were skipped.
func worse(a, b string) bool {
	order := []string{skipped, passed, failed}
	return slices.Index(order, a) > slices.Index(order, b)
}
