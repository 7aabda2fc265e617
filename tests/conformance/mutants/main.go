// Command mutants proves that the conformance suite can fail. It switches off rules of
// the emulators, one at a time, by compiling the suite with one line of an emulator's
// source replaced, and the suite has to notice each: first the section that is about
// the rule, then, if that passes, all of it.
//
// Nothing in the tree is changed: the go command reads the replaced file through an
// overlay.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/clb-direct/clb-direct/localdev/record"
)

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "directory of the module")
	flag.StringVar(&o.out, "o", "out/conformance-mutants.json", "the JSON to write")
	flag.IntVar(&o.least, "least", 30, "how many mutants there must be")
	only := flag.String("only", "", "a regular expression: try only mutants whose file or reason matches, and write nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		o.part = *only != ""
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance-mutants:", err)
		stop()
		os.Exit(1)
	}
}

// options of a run.
type options struct {
	root, out string
	least     int
	only      *regexp.Regexp
	part      bool
}

// run tries all mutants, reports and judges.
func run(ctx context.Context, o options) error {
	l, err := newLab(o.root)
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Println("the suite itself, which has to pass")
	if err := l.baseline(ctx); err != nil {
		return err
	}

	r := &report{}
	for _, m := range mutants {
		if !o.only.MatchString(m.file) && !o.only.MatchString(m.why) {
			continue
		}
		f := l.try(ctx, m)
		if ctx.Err() != nil {
			return fmt.Errorf("trying mutants: %w", ctx.Err())
		}
		r.add(f)
		fmt.Println(f.line(len(r.List)))
	}
	r.conclude(os.Stdout)
	if o.part {
		return r.wrong(0)
	}
	if err := record.Save(o.out, r); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", o.out)
	return r.wrong(o.least)
}
