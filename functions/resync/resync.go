// Package resync is the function that puts right what was missed, interrupted or changed
// by hand: it compares everything of ours with what the CLBs hold and takes it through
// the same passes as the other functions. A timer, a person or an audit event starts it;
// with dryRun in its event it says what it would do, and does nothing.
package resync

import (
	"context"
	_ "embed"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/reconcile"
)

// TestEvent is a console test event: paste it into the SCF console's test dialog,
// with your own cluster id. It is a dry run until dryRun is taken out.
//
//go:embed testevent.json
var TestEvent []byte

// Handle takes one pass for one event.
func Handle(ctx context.Context, w *reconcile.World, req event.Request) event.Reply {
	return w.Resync(ctx, req)
}
