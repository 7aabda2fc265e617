// Package frontend is the function that makes the load balancer's side of a Service:
// the CLB, its listeners, the Service's status, annotations and finalizer.
package frontend

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
	return w.Frontend(ctx, req)
}
