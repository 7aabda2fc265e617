package main

import (
	"bytes"
	"errors"
	"fmt"
)

// mutant is a rule of an emulator, switched off.
type mutant struct {
	// file is the source, below the module's directory, in which old occurs once.
	file, old, new string
	// why is the rule; section is the one of the suite that is about it.
	why, section string
}

// apply gives the source of the mutant.
func (m mutant) apply(source []byte) ([]byte, error) {
	if n := bytes.Count(source, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%s has %d times %q, want once", m.file, n, m.old)
	}
	if m.old == m.new {
		return nil, errors.New("the mutant is no other")
	}
	return bytes.Replace(source, []byte(m.old), []byte(m.new), 1), nil
}
