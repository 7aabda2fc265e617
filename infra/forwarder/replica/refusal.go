package replica

import (
	"context"
	"fmt"
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// refusal is an event that the platform will never take.
type refusal struct {
	function event.Function
	objects  []event.Ref
	why      error
}

// maxTold bounds the objects of one refusal that are told of it: a CLB may have hundreds,
// and what is wrong is not theirs.
const maxTold = 3

// refused has a refusal shown on its objects, soon. It never blocks: what doesn't fit will
// be refused again.
func (r *Replica) refused(f event.Function, objects []event.Ref, why error) {
	select {
	case r.refusals <- refusal{f, objects, why}:
	default:
	}
}

// tell records Events about refusals until ctx ends.
func (r *Replica) tell(ctx context.Context, x *index.Index, edge *kube.Client) {
	for {
		select {
		case <-ctx.Done():
			return
		case no := <-r.refusals:
			for _, ref := range no.objects[:min(len(no.objects), maxTold)] {
				r.record(ctx, x, edge, ref.Object(), no)
			}
		}
	}
}

func (r *Replica) record(ctx context.Context, x *index.Index, edge *kube.Client, ref model.Ref, no refusal) {
	uid, ok := x.UID(ref)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	n := kube.Note{Kind: string(ref.Kind), Ref: ref, UID: uid, Warning: true, Reason: "FunctionRefused",
		Message: fmt.Sprintf("function %s cannot be called about this; it is tried again when the object changes, and about once a minute: %v", no.function, no.why)}
	if err := edge.Record(ctx, n, time.Now()); err != nil {
		r.o.Log.Warn("recording an Event", "object", ref.String(), "error", err)
	}
}
