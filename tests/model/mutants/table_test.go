package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"
)

// TestMutantsFitTheSource keeps the table in step with the code: a mutant that replaces
// nothing proves nothing.
func TestMutantsFitTheSource(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join("../../..", m.File))
			if err != nil {
				t.Fatal(err)
			}
			mutated, err := m.Apply(source)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.ParseFile(token.NewFileSet(), m.File, mutated, 0); err != nil {
				t.Errorf("the mutant is no Go: %v", err)
			}
			if seen[m.name] {
				t.Errorf("%q is twice in the table", m.name)
			}
			seen[m.name] = true
		})
	}
}
