package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/queue"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

// TestRecoveryIsNoHerd: after an outage of ten minutes, every partition is sent to, never
// more at a time than there are places, and not all of them in the first moment.
func TestRecoveryIsNoHerd(t *testing.T) {
	const partitions, places = 300, 16
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		away, under, most := true, 0, 0
		var back time.Time
		first, heard := 0, map[string]bool{}
		f := &functions{t: t, answer: func(r event.Request) (event.Reply, error) {
			if away {
				return event.Reply{}, errors.New("connection refused")
			}
			if time.Since(back) < 100*time.Millisecond {
				first++
			}
			heard[string(r.Function)+" "+r.Partition] = true
			return event.Reply{}, nil
		}}
		x := index.New(desired.Policy{Cluster: "cls-1", Claim: desired.ByAnnotation})
		for i := range partitions {
			x.SetService(service("default", fmt.Sprintf("web-%d", i), fmt.Sprintf("lb-%d", i)))
		}
		dice := rand.New(rand.NewPCG(1, 2))
		var dicing sync.Mutex
		r := New(Options{Index: x, Transport: slow{f, func(d int) {
			mu.Lock()
			defer mu.Unlock()
			under += d
			most = max(most, under)
		}}, Timeout: 30 * time.Second, Log: slog.New(slog.DiscardHandler), Queue: queue.Options{Now: time.Now, Parallel: places, Random: func() float64 {
			dicing.Lock()
			defer dicing.Unlock()
			return dice.Float64()
		}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Lead(ctx); close(done) }()
		time.Sleep(10 * time.Minute)
		f.mu.Lock()
		away, back = false, time.Now()
		f.mu.Unlock()
		time.Sleep(2 * time.Minute)
		cancel()
		<-done
		if len(heard) < 2*partitions { // frontend and backends of each
			t.Errorf("want all of %d partitions sent to, %d were", 2*partitions, len(heard))
		}
		if most > places {
			t.Errorf("want %d sends at a time at most, there were %d", places, most)
		}
		if first > partitions/4 {
			t.Errorf("want recovery spread out, %d of %d sends came in the first moment", first, len(heard))
		}
	})
}

// slow is a transport that takes its time, and tells how many sends are under way.
type slow struct {
	*functions
	under func(int)
}

func (s slow) Send(ctx context.Context, to event.Function, payload []byte) (event.Reply, error) {
	s.under(1)
	defer s.under(-1)
	time.Sleep(20 * time.Millisecond)
	return s.functions.Send(ctx, to, payload)
}
