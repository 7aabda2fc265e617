// Function is what the transports' tests package: it reads events as the real
// functions do, and does what the event's partition says.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	cloudevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/tencentyun/scf-go-lib/cloudfunction"

	"github.com/clb-direct/clb-direct/shared/event"
)

type function struct{}

// Invoke is the platform's entry.
func (function) Invoke(_ context.Context, payload []byte) ([]byte, error) {
	d, err := event.Decode(payload, event.Receiver{Secret: os.Getenv("EVENT_SECRET")}, time.Now())
	if err != nil {
		if d.Envelope == event.FunctionURL {
			return event.RejectURL(err)
		}
		return nil, err
	}
	r := d.Requests[0]
	switch r.Partition {
	case "exit":
		os.Exit(1)
	case "hang":
		time.Sleep(time.Hour)
	case "error":
		return nil, errors.New("no")
	case "panic":
		panic("no")
	case "nonsense":
		return []byte(`{"hello":"world"}`), nil
	}
	answer, err := event.Reply{Pending: len(r.Sync.LoadBalancers)}.Encode(r.ID, r.Source, time.Now())
	if err != nil {
		return nil, err
	}
	return d.Answer([]cloudevent.Event{answer})
}

func main() { cloudfunction.StartHandler(function{}) }
