package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/clb-direct/clb-direct/shared/event"
)

// resync has the function resync of the running stack look at everything and put it
// right; a dry run only says what it would do.
func resync(ctx context.Context, root string, dry bool, w io.Writer) error {
	r, err := ask(ctx, root, event.Resync, event.Sync{All: true, DryRun: dry})
	if err != nil {
		return err
	}
	sayResync(w, r, dry)
	if r.Failure != nil {
		return fmt.Errorf("%s: %s", r.Failure.Kind, r.Failure.Message)
	}
	return nil
}

// sayResync writes what came of a resync.
func sayResync(w io.Writer, r event.Reply, dry bool) {
	heading := "found and put right:"
	if dry {
		heading = "would do, and has not done:"
	}
	if len(r.Plan) == 0 {
		heading = "nothing to do"
	}
	fmt.Fprintln(w, heading)
	for _, line := range r.Plan {
		fmt.Fprintln(w, "  -", line)
	}
	if r.Pending > 0 {
		fmt.Fprintf(w, "%d pods wait for their gate; `make explain OBJ=pod/namespace/name` says why\n", r.Pending)
	}
	if r.Continue {
		fmt.Fprintln(w, "not all was done in the time there is; the next resync goes on")
	}
	for _, what := range slices.Sorted(maps.Keys(r.Writes)) {
		fmt.Fprintf(w, "wrote %s: %d\n", what, r.Writes[what])
	}
	calls := 0
	for _, n := range r.Calls {
		calls += n
	}
	fmt.Fprintf(w, "%d calls of the CLB API\n", calls)
}
