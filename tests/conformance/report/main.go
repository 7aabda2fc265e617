// Command report reads what `go test -json` says of the conformance suite: it shows
// each case as it ends, then a table by section, and writes the figures as JSON. It
// fails if a case has failed, if the suite did not come to its end, or if there are
// fewer cases than there must be.
//
// A section is the first level of subtests, a case the second: a documented fact. What
// is below, such as a disputed fact under several profiles, belongs to the case.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/clb-direct/clb-direct/localdev/record"
)

func main() {
	out := flag.String("o", "out/conformance.json", "the JSON to write")
	least := flag.Int("least", 150, "how many cases there must be")
	flag.Parse()
	if err := run(*out, *least); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// run reports what has been seen even where it isn't all.
func run(out string, least int) error {
	s := newSuite()
	broken := s.read(os.Stdin, os.Stdout)
	r := s.report()
	r.table(os.Stdout)
	if err := record.Save(out, r); err != nil {
		return errors.Join(broken, err)
	}
	fmt.Printf("\n%s\n", out)
	return errors.Join(broken, r.wrong(least))
}
