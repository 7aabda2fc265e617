// Package backends is the function that makes pods targets of a CLB: it binds them at
// weight 0 as soon as they have an address, raises and lowers weights, and unbinds
// what is gone. It writes under the CLB's Lease.
package backends

import (
	"context"
	_ "embed"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/reconcile"
)

// TestEvent is a console test event: paste it into the SCF console's test dialog,
// with your own cluster id and names.
//
//go:embed testevent.json
var TestEvent []byte

// Handle takes one pass for one event.
func Handle(ctx context.Context, w *reconcile.World, req event.Request) event.Reply {
	return w.Backends(ctx, req)
}
