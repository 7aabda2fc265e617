// Package record keeps what was measured: as JSON, and with it when, on which commit and
// on what machine, so that a figure can be told from one of another day.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Measured is the circumstances of figures.
type Measured struct {
	// At is when they were written, in UTC.
	At time.Time `json:"at"`
	// Commit is that of the sources in the working directory, shortened, with "-dirty"
	// where they differed from it; "" if it isn't known.
	Commit string `json:"commit,omitempty"`
	CPUs   int    `json:"cpus,omitempty"`
	Go     string `json:"go,omitempty"`
}

// Now are the circumstances at present.
func Now() Measured {
	m := Measured{At: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Go: runtime.Version()}
	// Without git, or outside a clone, the commit isn't known.
	if out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

// Save writes figures, a struct, to a file, and with them, under "measured", their
// circumstances.
func Save(path string, figures any) error {
	raw, err := Encode(figures, Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the folder of the figures: %w", err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	return nil
}

// Encode is what Save writes. The figures keep their order; what they were measured on
// comes last.
func Encode(figures any, m Measured) ([]byte, error) {
	raw, err := json.Marshal(figures)
	if err != nil {
		return nil, fmt.Errorf("encoding the figures: %w", err)
	}
	at, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding what was measured on: %w", err)
	}
	fields, ok := bytes.CutSuffix(raw, []byte("}"))
	if !ok || raw[0] != '{' {
		return nil, errors.New("encoding the figures: they are no object with fields")
	}
	var out bytes.Buffer
	out.Write(fields)
	if len(fields) > 1 {
		out.WriteByte(',')
	}
	fmt.Fprintf(&out, `"measured":%s}`, at)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, out.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("encoding the figures: %w", err)
	}
	pretty.WriteByte('\n')
	return pretty.Bytes(), nil
}
