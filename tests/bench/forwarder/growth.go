package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// begin measures how long a forwarder takes, from its start, until the sink knows of
// everything that there is.
func (b *bench) begin(ctx context.Context, k kind, keys []*key) (figures, error) {
	b.sink.forget()
	began := time.Now()
	p, err := b.start(k, "start")
	if err != nil {
		return nil, err
	}
	defer p.stop()
	quiet := 15 * time.Second
	if k == baseline {
		quiet = 5 * time.Second // it never tells of anything
	}
	lost, last := b.await(keys, quiet)
	f := figures{"lost": lost, "pods": len(keys)}
	if lost < len(keys) {
		f["seconds"] = last.Sub(began).Seconds()
	}
	return f, nil
}

// resident measures a forwarder's memory once it has told everything, changes included.
func (b *bench) resident(ctx context.Context, keys []*key) (now, peak float64, err error) {
	b.sink.forget()
	p, err := b.start(ours, "memory")
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	if err := setting.Await(ctx, "everything to be told", func() (bool, error) {
		n, _ := b.sink.lacking(keys)
		return n == 0, nil
	}); err != nil {
		return 0, 0, err
	}
	if err := b.change(ctx, keys, 1000, 4, b.write); err != nil {
		return 0, 0, err
	}
	if lost, _ := b.await(keys, settle); lost > 0 {
		return 0, 0, fmt.Errorf("measuring memory: %d changes of %d pods were lost", lost, len(keys))
	}
	time.Sleep(5 * time.Second)
	return p.memory()
}

// leads tells whether a replica of ours says that it leads.
func (p *program) leads() bool {
	res, err := http.Get(p.health + "/metrics")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return err == nil && strings.Contains(string(body), "\nclb_direct_forwarder_leading 1\n")
}

// takeover ends the leader of two, changes keys, and measures how long it takes until
// the sink knows.
func (b *bench) takeover(ctx context.Context, s syscall.Signal) (figures, error) {
	lease := fmt.Sprint("--lease=takeover-", len(b.running))
	first, err := b.start(ours, "one", lease)
	if err != nil {
		return nil, err
	}
	defer first.stop()
	if err := b.attached(ctx, first, b.keys[:b.o.pods]); err != nil {
		return nil, err
	}
	second, err := b.start(ours, "two", lease)
	if err != nil {
		return nil, err
	}
	defer second.stop()
	if err := setting.Await(ctx, "the second replica", func() (bool, error) {
		res, err := http.Get(second.health + "/readyz")
		if err != nil {
			return false, nil
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK, nil
	}); err != nil {
		return nil, err
	}
	if !first.leads() || second.leads() {
		return nil, fmt.Errorf("leading are %v and %v, not the first alone", first.leads(), second.leads())
	}
	time.Sleep(2 * time.Second) // so that the second has seen the Lease renewed
	b.sink.forget()
	began := time.Now()
	if err := first.cmd.Process.Signal(s); err != nil {
		return nil, fmt.Errorf("ending the leader: %w", err)
	}
	keys := b.keys[:50]
	if err := b.change(ctx, keys, len(keys), 4, b.write); err != nil {
		return nil, err
	}
	lost, last := b.await(keys, 20*time.Second)
	led := time.Since(began)
	if !second.leads() {
		return nil, fmt.Errorf("the second replica doesn't lead %s later", led)
	}
	return figures{"lost": lost, "seconds": last.Sub(began).Seconds()}, nil
}
