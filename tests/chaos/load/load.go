// Package load is clients of a Service that never stop asking: HTTP over new and over kept
// connections, lines over long TCP connections, datagrams from new ports and from kept
// ones. Each request becomes a Sample; what it means is for others to judge.
package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// Kind is a way of asking.
type Kind string

// The ways.
const (
	// Short is HTTP with a connection for each request, Kept over connections that are used
	// again.
	Short Kind = "http_short"
	Kept  Kind = "http_kept"
	// Long is lines over a TCP connection that is kept for as long as the application does.
	Long Kind = "tcp_long"
	// Datagram is UDP with a source port for each datagram, Flow from the same port always.
	Datagram Kind = "udp_new"
	Flow     Kind = "udp_flow"
)

// Kinds lists them all.
var Kinds = []Kind{Short, Kept, Long, Datagram, Flow}

// patience is how long an answer may take.
const patience = 8 * time.Second

// Sample is one request.
type Sample struct {
	Kind Kind
	Site string
	// To is the address that was asked, From the client's, as the load balancer sees it.
	To, From    netip.AddrPort
	Sent, Ended time.Time
	// Opened is when the connection was asked for; that of a datagram's is when it was sent.
	Opened time.Time
	// Repeated: a kept connection ended as the request was sent, with no byte of an answer,
	// and the client asked again over another, as RFC 9110 9.2.2 has it.
	Repeated bool
	// Err says why there is no whole answer; Answer is what a pod said otherwise.
	Err    error
	Answer application.Answer
}

// Target is a Service that is asked.
type Target struct {
	Site string
	// Web takes HTTP and lines over TCP; Single and Steady take datagrams, from new ports
	// and from kept ones.
	Web, Single, Steady netip.AddrPort
	// From is the clients' address, no other load's.
	From netip.Addr
}

// Rates are requests a second to one Service, by their kind; kinds of which there are
// several clients share them.
type Rates map[Kind]float64

// DefaultRates are 38 a second.
var DefaultRates = Rates{Short: 10, Kept: 11, Long: 8, Datagram: 5, Flow: 4}

// clients is how many clients of a kind there are, of those that keep what they ask from.
const clients = 2

// Press asks a Service until stop is called, which waits for answers that are still to
// come. Report gets every sample; it may be called by several at a time.
func Press(t Target, rates Rates, report func(Sample)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	tcp, udp := &ports{from: t.From}, &ports{from: t.From}
	for _, kept := range []bool{false, true} {
		w := &web{target: t, from: tcp, kept: kept, report: report}
		wg.Go(func() { w.run(ctx, rates[w.kind()]) })
	}
	for range clients {
		wg.Go(func() { (&line{target: t, from: tcp, report: report}).run(ctx, rates[Long]/clients) })
		wg.Go(func() { steady(ctx, t, udp, rates[Flow]/clients, report) })
	}
	wg.Go(func() { datagrams(ctx, t, udp, rates[Datagram], report) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// every does something at a rate until ctx ends, one at a time.
func every(ctx context.Context, rate float64, do func()) {
	if rate <= 0 {
		return
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// read takes an answer apart.
func read(raw []byte) (a application.Answer, err error) {
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("answered %q: %w", raw[:min(len(raw), 80)], err)
	}
	if a.UID == "" {
		return a, fmt.Errorf("answered %q: no pod says that", raw[:min(len(raw), 80)])
	}
	return a, nil
}
