// Command mutants takes the model's walks, and then proves that they can fail: it
// switches off rules of the production code, one at a time, and the walks have to find a
// violation of each.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/record"
	"github.com/clb-direct/clb-direct/tests/mutant"
)

// suite is where the walks are.
const suite = "tests/model"

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "directory of the module")
	flag.StringVar(&o.out, "o", "out/model.json", "the JSON to write")
	flag.IntVar(&o.steps, "steps", 1_000_000, "how many steps to take at least")
	flag.IntVar(&o.tries, "tries", 1_500_000, "how many steps a mutant may survive")
	flag.IntVar(&o.least, "least", 10, "how many mutants there must be")
	flag.Uint64Var(&o.seed, "seed", 1, "the first walk's seed; others take other walks")
	only := flag.String("only", "", "a regular expression: try only mutants whose name matches, and write nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		o.part = *only != ""
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	root, out           string
	steps, tries, least int
	seed                uint64
	only                *regexp.Regexp
	part                bool
}

// walks is what a run of the suite writes down.
type walks struct {
	Steps      int      `json:"steps"`
	Walks      int      `json:"walks"`
	FirstSeed  uint64   `json:"firstSeed"`
	LastSeed   uint64   `json:"lastSeed"`
	Violations []string `json:"violations"`
}

type report struct {
	Steps          int       `json:"steps"`
	Walks          int       `json:"walks"`
	Seeds          []walks   `json:"seeds"`
	Violations     []string  `json:"violations"`
	StepsPerSecond float64   `json:"steps_per_second"`
	Mutants        []finding `json:"mutants"`
}

// finding is what became of one mutant.
type finding struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Caught bool   `json:"caught"`
	Steps  int    `json:"steps"`
	By     string `json:"by,omitempty"`
	Error  string `json:"error,omitempty"`
}

func run(ctx context.Context, o options) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return fmt.Errorf("finding the module: %w", err)
	}
	dir, err := os.MkdirTemp("", "model-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	r := &report{Violations: []string{}, Mutants: []finding{}}
	if !o.part {
		if err := r.walk(ctx, o, root, dir); err != nil {
			return err
		}
	}
	for i, m := range mutants {
		if !o.only.MatchString(m.name) {
			continue
		}
		f := try(ctx, o, root, dir, m)
		if ctx.Err() != nil {
			return fmt.Errorf("trying mutants: %w", ctx.Err())
		}
		r.Mutants = append(r.Mutants, f)
		fmt.Println(f.line(i + 1))
	}
	if !o.part {
		if err := record.Save(o.out, r); err != nil {
			return err
		}
		fmt.Printf("\n%s\n", o.out)
	}
	return r.wrong(o)
}

// both is how many processes walk side by side.
const both = 2

// walk takes the walks, without a mutant.
func (r *report) walk(ctx context.Context, o options, root, dir string) error {
	program, err := mutant.Compile(ctx, root, dir, suite, nil)
	if err != nil {
		return err
	}
	fmt.Printf("%d steps of the production code as it is, from seed %d\n", o.steps, o.seed)
	began := time.Now()
	var group sync.WaitGroup
	parts, errs := make([]walks, both), make([]error, both)
	for i := range parts {
		group.Go(func() {
			parts[i], errs[i] = play(ctx, program, dir, i, o.seed+uint64(i)*10_000_000, (o.steps+both-1)/both)
		})
	}
	group.Wait()
	for i, part := range parts {
		if errs[i] != nil {
			return errs[i]
		}
		r.Steps, r.Walks = r.Steps+part.Steps, r.Walks+part.Walks
		r.Violations = append(r.Violations, part.Violations...)
		part.Violations = nil
		r.Seeds = append(r.Seeds, part)
	}
	r.StepsPerSecond = float64(r.Steps) / time.Since(began).Seconds()
	fmt.Printf("%d steps in %d walks, %.0f a second, %d violations\n\n", r.Steps, r.Walks, r.StepsPerSecond, len(r.Violations))
	return nil
}

// try finds out whether the walks notice a mutant. Their seeds are always the same.
func try(ctx context.Context, o options, root, dir string, m named) finding {
	f := finding{Name: m.name, File: m.File}
	program, err := mutant.Compile(ctx, root, dir, suite, &m.Mutant)
	if err == nil {
		var w walks
		if w, err = play(ctx, program, dir, 0, 1, o.tries); err == nil {
			f.Steps, f.Caught = w.Steps, len(w.Violations) > 0
			if f.Caught {
				f.By = w.Violations[0]
			}
		}
	}
	if err != nil {
		f.Error = err.Error()
	}
	return f
}

// play runs the suite. That it fails is for its report to say.
func play(ctx context.Context, program, dir string, i int, seed uint64, steps int) (w walks, err error) {
	out := filepath.Join(dir, "walks-"+strconv.Itoa(i)+".json")
	_ = os.Remove(out)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.run", "^TestWalks$", "-test.timeout", "10m", "-model.out", out,
		"-model.seed", strconv.FormatUint(seed, 10), "-model.steps", strconv.Itoa(steps))
	text, failed := cmd.CombinedOutput()
	raw, err := os.ReadFile(out)
	if err != nil {
		if failed != nil && len(text) > 0 { // a panic or a deadlock is noticed, too
			return walks{Violations: []string{"the walk broke off: " + string(text[:min(len(text), 200)])}}, nil
		}
		return w, fmt.Errorf("taking walks: %w", err)
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return w, fmt.Errorf("reading what the walks found: %w", err)
	}
	if len(w.Violations) > 0 && i > 0 || failed != nil && len(w.Violations) == 0 {
		fmt.Printf("%s\n", text)
	}
	return w, nil
}

// line is the finding for people.
func (f finding) line(n int) string {
	switch {
	case f.Error != "":
		return fmt.Sprintf("%3d BROKEN  %s\n      %s", n, f.Name, f.Error)
	case !f.Caught:
		return fmt.Sprintf("%3d MISSED  %s, after %d steps", n, f.Name, f.Steps)
	}
	return fmt.Sprintf("%3d caught  %s, after %d steps\n      by %s", n, f.Name, f.Steps, f.By[:min(len(f.By), 200)])
}

// wrong says what the model doesn't meet.
func (r *report) wrong(o options) error {
	caught := 0
	for _, f := range r.Mutants {
		if f.Caught {
			caught++
		}
	}
	switch {
	case len(r.Violations) > 0:
		return fmt.Errorf("%d violations: %s", len(r.Violations), r.Violations[0])
	case caught < len(r.Mutants):
		return fmt.Errorf("%d of %d mutants were not caught", len(r.Mutants)-caught, len(r.Mutants))
	case o.part:
		return nil
	case r.Steps < o.steps:
		return fmt.Errorf("%d steps, want at least %d", r.Steps, o.steps)
	case len(r.Mutants) < o.least:
		return fmt.Errorf("%d mutants, want at least %d", len(r.Mutants), o.least)
	}
	return nil
}
