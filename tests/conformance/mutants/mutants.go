package main

import "github.com/clb-direct/clb-direct/tests/mutant"

// rule is a rule of an emulator, switched off.
type rule struct {
	// file is the source, below the module's directory, in which old occurs once.
	file, old, new string
	// why is the rule; section is the one of the suite that is about it.
	why, section string
}

// mutant is the emulator without the rule.
func (r rule) mutant() mutant.Mutant { return mutant.Mutant{File: r.file, Old: r.old, New: r.new} }
