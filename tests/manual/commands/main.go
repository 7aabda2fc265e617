// Command commands runs those commands in the middle of README.md and docs/ that are too
// long for CI, from the text itself, one after the other: measurements, hours of them
// together. It writes a report and fails if one did.
//
//	go run ./tests/manual/commands -o out/commands.json -only 'bench|drift'
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/record"
	"github.com/clb-direct/clb-direct/tests/manual"
)

// Command is one that was run.
type Command struct {
	Command string   `json:"command"`
	Pages   []string `json:"pages"`
	Seconds float64  `json:"seconds"`
	OK      bool     `json:"ok"`
}

// Report is commands.json.
type Report struct {
	Commands []Command `json:"commands"`
	Failed   int       `json:"failed"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := flag.String("o", "out/commands.json", "file for the report")
	root := flag.String("root", ".", "directory of the module")
	only := flag.String("only", "", "regular expression: run only commands that it matches")
	flag.Parse()
	r, err := run(ctx, *root, *only)
	if werr := record.Save(*out, r); err == nil {
		err = werr
	}
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d of %d commands failed", r.Failed, len(r.Commands))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "commands:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root, only string) (Report, error) {
	var r Report
	pattern, err := regexp.Compile(only)
	if err != nil {
		return r, fmt.Errorf("-only is no regular expression: %w", err)
	}
	book, err := manual.Read(root)
	if err != nil {
		return r, err
	}
	targets, err := manual.Targets(root)
	if err != nil {
		return r, err
	}
	stages, err := manual.Stages(root)
	if err != nil {
		return r, err
	}
	inline := book.Inline()
	long := slices.DeleteFunc(slices.Sorted(maps.Keys(inline)), func(c string) bool {
		return c == manual.Itself || book.Runner(c, targets, stages) != manual.Long || !pattern.MatchString(c)
	})
	for i, c := range long {
		fmt.Printf("── %d of %d: %s (%v)\n", i+1, len(long), c, inline[c])
		began := time.Now()
		cmd := manual.Shell(ctx, root, c)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends what it started
		cmd.WaitDelay = time.Minute
		err := cmd.Run()
		done := Command{Command: c, Pages: inline[c], Seconds: time.Since(began).Round(time.Second).Seconds(), OK: err == nil}
		r.Commands = append(r.Commands, done)
		if err != nil {
			r.Failed++
			fmt.Printf("── %s: %v\n", c, err)
		}
		fmt.Printf("── %s: %.0f s\n", c, done.Seconds)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
	}
	return r, nil
}
