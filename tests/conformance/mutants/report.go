package main

import (
	"fmt"
	"io"
	"strings"
)

// report is what is written.
type report struct {
	Mutants int       `json:"mutants"`
	Noticed int       `json:"noticed"`
	List    []finding `json:"list"`
}

// finding is what became of one mutant.
type finding struct {
	File string `json:"file"`
	// Why is the rule that was switched off.
	Why     string `json:"why"`
	Noticed bool   `json:"noticed"`
	// By is the first case that failed, Whole whether it took the whole suite to notice.
	By      string  `json:"by,omitempty"`
	Whole   bool    `json:"whole"`
	Seconds float64 `json:"seconds"`
	// Error is why the mutant could not be tried.
	Error string `json:"error,omitempty"`
}

// line is the finding for people.
func (f finding) line(n int) string {
	mark := "noticed"
	switch {
	case f.Error != "":
		mark = "BROKEN "
	case !f.Noticed:
		mark = "MISSED "
	}
	text := fmt.Sprintf("%3d %s %5.1f s  %s: %s", n, mark, f.Seconds, f.File, f.Why)
	switch {
	case f.Error != "":
		text += "\n      " + strings.ReplaceAll(f.Error, "\n", "\n      ")
	case f.Noticed:
		text += "\n      by " + f.By
	}
	if f.Whole && f.Noticed {
		text += " (not in its own section)"
	}
	return text
}

func (r *report) add(f finding) {
	r.List = append(r.List, f)
	r.Mutants++
	if f.Noticed {
		r.Noticed++
	}
}

func (r *report) conclude(w io.Writer) {
	fmt.Fprintf(w, "\n%d of %d mutants noticed\n", r.Noticed, r.Mutants)
}

// wrong says what the suite doesn't meet.
func (r *report) wrong(least int) error {
	if r.Noticed < r.Mutants {
		return fmt.Errorf("%d of %d mutants were not noticed", r.Mutants-r.Noticed, r.Mutants)
	}
	if r.Mutants < least {
		return fmt.Errorf("there are %d mutants, want at least %d", r.Mutants, least)
	}
	return nil
}
