// Command results renders docs/results.md and its plots from reports of what was measured.
// It first copies what it needs of the reports in out/ to docs/results/, and then renders
// from there alone, so that a page can be told from figures that nobody measured: a test
// renders it again and compares.
//
//	go run ./tests/results                          whatever is in out/
//	go run ./tests/results -reports D -commit C     measured in another clone, at a commit
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	var o options
	flag.StringVar(&o.reports, "reports", "out", "folder of the reports")
	flag.StringVar(&o.docs, "docs", "docs", "folder of the page")
	flag.StringVar(&o.commit, "commit", "", "commit that reports were measured on which don't say so themselves")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "results:", err)
		os.Exit(1)
	}
}

type options struct{ reports, docs, commit string }

// run renders the page even where a report can't be used, and then says so.
func run(o options, w io.Writer) error {
	data := filepath.Join(o.docs, "results")
	taken, older, unused := source{o.reports, o.commit}.collect(data)
	for _, name := range taken {
		fmt.Fprintf(w, "%s.json is kept\n", name)
	}
	for _, name := range older {
		fmt.Fprintf(w, "%s.json is older than what is kept\n", name)
	}
	b, err := read(data)
	if err != nil {
		return err
	}
	files, err := render(b)
	if err != nil {
		return err
	}
	for _, name := range sorted(files) {
		path := filepath.Join(o.docs, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing the page: %w", err)
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return fmt.Errorf("writing the page: %w", err)
		}
		fmt.Fprintf(w, "%s, %d bytes\n", path, len(files[name]))
	}
	for _, r := range rows {
		if _, ok := b.Measured[r.Report]; !ok {
			fmt.Fprintf(w, "make %s: not measured yet\n", r.Command)
			continue
		}
		for _, h := range r.figures(b) {
			if !h.met {
				fmt.Fprintf(w, "make %s: not met: %s (%s)\n", r.Command, h.text, h.bar)
			}
		}
	}
	return unused
}
