package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/tests/mutant"
)

// How long a run may take: one that hangs has noticed.
const (
	sectionLimit = 3 * time.Minute
	wholeLimit   = 15 * time.Minute
)

// suite is the directory of the conformance suite below the module's.
const suite = "tests/conformance"

// lab builds and runs the suite with mutants in it.
type lab struct {
	root, dir string
}

func newLab(root string) (*lab, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("finding the module: %w", err)
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for mutants: %w", err)
	}
	return &lab{root: root, dir: dir}, nil
}

func (l *lab) close() { _ = os.RemoveAll(l.dir) }

// baseline requires the suite to pass as it is: what fails anyway notices nothing.
func (l *lab) baseline(ctx context.Context) error {
	program, err := mutant.Compile(ctx, l.root, l.dir, suite, nil)
	if err != nil {
		return err
	}
	failed, err := l.play(ctx, program, "", wholeLimit)
	if err != nil {
		return err
	}
	if failed != "" {
		return fmt.Errorf("the suite fails without a mutant: %s", failed)
	}
	return nil
}

// try finds out whether the suite notices a mutant.
func (l *lab) try(ctx context.Context, m rule) (f finding) {
	began := time.Now()
	f = finding{File: m.file, Why: m.why}
	defer func() { f.Seconds = time.Since(began).Seconds() }()
	changed := m.mutant()
	program, err := mutant.Compile(ctx, l.root, l.dir, suite, &changed)
	if err != nil {
		f.Error = err.Error()
		return f
	}
	f.By, err = l.play(ctx, program, m.section, sectionLimit)
	if err == nil && f.By == "" {
		f.Whole = true
		f.By, err = l.play(ctx, program, "", wholeLimit)
	}
	if err != nil {
		f.Error = err.Error()
		return f
	}
	f.Noticed = f.By != ""
	return f
}

// play runs a section, or all of them, up to the first failure and names that; "" means
// that all passed. An error is no verdict.
func (l *lab) play(ctx context.Context, program, section string, limit time.Duration) (failed string, err error) {
	args := []string{"-test.v", "-test.failfast", "-test.timeout", limit.String()}
	if section != "" {
		args = append(args, "-test.run", "/^"+regexp.QuoteMeta(strings.ReplaceAll(section, " ", "_"))+"$")
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = filepath.Join(l.root, suite)
	// A run against the cloud would try somebody else's emulator.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CONFORMANCE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil && section != "" && !bytes.Contains(out, []byte("=== RUN")):
		return "", fmt.Errorf("there is no section %q", section)
	case err == nil:
		return "", nil
	case !errors.As(err, &exit):
		return "", fmt.Errorf("running the suite: %w", err)
	}
	return culprit(out), nil
}

// failure is what a test's end looks like in the output.
var failure = regexp.MustCompile(`^\s*--- FAIL: Test[^/]*/([^/\s]+)/(\S+)`)

// culprit is the case that failed first, as far as the output tells.
func culprit(output []byte) string {
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); {
		line := lines.Text()
		if m := failure.FindStringSubmatch(line); m != nil {
			return strings.ReplaceAll(m[1]+": "+m[2], "_", " ")
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
	}
	return "the suite as a whole"
}
