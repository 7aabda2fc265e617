// Package explain is the function that answers why a pod is Ready or not, for one
// Service, Ingress or pod. It only reads, and nothing sends it events but people.
package explain

import (
	"context"
	_ "embed"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/reconcile"
)

// TestEvent is a console test event: paste it into the SCF console's test dialog,
// with your own cluster id and the object that you ask about.
//
//go:embed testevent.json
var TestEvent []byte

// Handle takes one pass for one event.
func Handle(ctx context.Context, w *reconcile.World, req event.Request) event.Reply {
	return w.Explain(ctx, req)
}
