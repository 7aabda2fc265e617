// Package mutant compiles tests with a mutant in them: one place of one source file
// replaced. Nothing in the tree is changed: the go command reads the replaced file
// through an overlay.
package mutant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Mutant is a change of a source file, given below the module's directory, in which Old
// occurs once.
type Mutant struct{ File, Old, New string }

// Apply gives the source of the mutant.
func (m Mutant) Apply(source []byte) ([]byte, error) {
	if n := bytes.Count(source, []byte(m.Old)); n != 1 {
		return nil, fmt.Errorf("%s has %d times %q, want once", m.File, n, m.Old)
	}
	if m.Old == m.New {
		return nil, errors.New("the mutant is no other")
	}
	return bytes.Replace(source, []byte(m.Old), []byte(m.New), 1), nil
}

// Compile makes the tests of a package, given below root, into a program in dir; m nil
// is none. An error is no verdict on the mutant.
func Compile(ctx context.Context, root, dir, pkg string, m *Mutant) (program string, err error) {
	replace := map[string]string{}
	if m != nil {
		path := filepath.Join(root, m.File)
		source, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading the source: %w", err)
		}
		mutated, err := m.Apply(source)
		if err != nil {
			return "", err
		}
		replace[path] = filepath.Join(dir, "mutant.go")
		if err := os.WriteFile(replace[path], mutated, 0o600); err != nil {
			return "", fmt.Errorf("writing the mutant: %w", err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("encoding the overlay: %w", err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return "", fmt.Errorf("writing the overlay: %w", err)
	}
	program = filepath.Join(dir, filepath.Base(pkg)+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", path, "-o", program, "./"+pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the tests: %w\n%s", err, bytes.TrimSpace(out))
	}
	return program, nil
}
