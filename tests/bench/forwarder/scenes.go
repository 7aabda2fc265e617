package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// figures are a scenario's.
type figures map[string]any

// settle is how long after a scenario's last change nothing new may have come, before
// what hasn't come counts as lost.
const settle = 3 * time.Second

// limit is how long the last change is waited for at all.
const limit = 90 * time.Second

// await waits until the sink knows the last state of all keys, or nothing has come for
// long, and tells when it knew the last of those that it does.
func (b *bench) await(keys []*key, quiet time.Duration) (lost int, last time.Time) {
	end, moved := time.Now().Add(limit), time.Now()
	before := -1
	for {
		lost, last = b.sink.lacking(keys)
		b.sink.mu.Lock()
		events := b.sink.events
		b.sink.mu.Unlock()
		if events != before {
			before, moved = events, time.Now()
		}
		if lost == 0 || time.Since(moved) > quiet || time.Now().After(end) {
			return lost, last
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// change writes n changes over keys in turn, with so many writers.
func (b *bench) change(ctx context.Context, keys []*key, n, writers int, how func(context.Context, *key) error) error {
	var g errgroup.Group
	g.SetLimit(writers)
	for i := range n {
		g.Go(func() error { return how(ctx, keys[i%len(keys)]) })
	}
	return g.Wait()
}

// backlog has n changes of keys wait for a forwarder that stands still, and measures how
// fast they go when it goes on.
func (b *bench) backlog(ctx context.Context, k kind, keys []*key, n int) (figures, error) {
	p, err := b.start(k, "drain", "--leader-elect=false")
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := b.attached(ctx, p, keys); err != nil {
		return nil, err
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	if err := b.change(ctx, keys, n, 8, b.rewrite); err != nil {
		return nil, err
	}
	b.sink.forget()
	used, err := p.cpu()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.signal(syscall.SIGCONT); err != nil {
		return nil, err
	}
	lost, last := b.await(keys, settle)
	after, err := p.cpu()
	if err != nil {
		return nil, err
	}
	took := last.Sub(began)
	return figures{
		"lost": lost, "seconds": took.Seconds(), "keys_per_second": float64(len(keys)-lost) / took.Seconds(), "changes_per_second": float64(n) / took.Seconds(),
		"cpu_ms_per_event": float64((after - used).Microseconds()) / 1000 / float64(n),
	}, b.cluster.Compact(ctx)
}

// drain is a backlog of one change of each of 10,000 pods.
func (b *bench) drain(ctx context.Context, k kind) (figures, error) {
	return b.backlog(ctx, k, b.keys[:b.o.pods], b.o.pods)
}

// drain100 is as many changes over 100 pods.
func (b *bench) drain100(ctx context.Context, k kind) (figures, error) {
	return b.backlog(ctx, k, b.keys[:services], b.o.pods)
}

// latency measures how much later than a bare watch the sink knows of changes.
func (b *bench) latency(ctx context.Context, k kind, changes, writers int, pause, delay time.Duration) (figures, error) {
	p, err := b.start(k, "latency", "--leader-elect=false")
	if err != nil {
		return nil, err
	}
	defer p.stop()
	keys := b.keys[:services]
	if err := b.attached(ctx, p, b.keys[:b.o.pods]); err != nil {
		return nil, err
	}
	b.sink.behave(delay, nil)
	defer b.sink.behave(0, nil)
	w, err := b.follow(ctx, keys)
	if err != nil {
		return nil, err
	}
	defer w.stop()
	b.sink.forget()
	var added, whole []time.Duration
	var late int
	results := make(chan [3]time.Duration, changes)
	var g errgroup.Group
	g.SetLimit(writers)
	for i := range changes {
		// One writer a key at a time, so that each change is waited for by itself.
		k := keys[i%len(keys)]
		g.Go(func() error {
			began := time.Now()
			if err := b.write(ctx, k); err != nil {
				return err
			}
			if pause == 0 && delay > 0 {
				return nil // what matters is when the last state came
			}
			at, seen, ok := b.both(w, k)
			if ok {
				results <- [3]time.Duration{at.Sub(seen), at.Sub(began), 0}
			}
			return nil
		})
		time.Sleep(pause)
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	end := time.Now()
	lost, last := b.await(keys, max(settle, 20*delay))
	close(results)
	for r := range results {
		added, whole = append(added, r[0]), append(whole, r[1])
	}
	if delay > 0 && pause == 0 { // the delay of each key's last state
		for _, k := range keys {
			if at, ok := b.sink.has(k); ok {
				if seen, ok := w.when(k); ok {
					added = append(added, at.Sub(seen))
				}
			}
		}
		late = int(last.Sub(end).Milliseconds())
	}
	f := figures{"lost": lost, "changes": changes, "added_p50_ms": quantile(added, 0.5), "added_p99_ms": quantile(added, 0.99)}
	if len(whole) > 0 {
		f["write_to_sink_p50_ms"], f["write_to_sink_p99_ms"] = quantile(whole, 0.5), quantile(whole, 0.99)
	}
	if delay > 0 {
		f["last_ms_late"] = late
	}
	return f, nil
}

// both waits until the sink knows the key's state, and tells when it did and when the
// bare watch saw it.
func (b *bench) both(w *follower, k *key) (at, seen time.Time, ok bool) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		at, known := b.sink.has(k)
		seen, saw := w.when(k)
		if known && saw {
			return at, seen, true
		}
	}
	return time.Time{}, time.Time{}, false
}

func (b *bench) idle(ctx context.Context, k kind) (figures, error) {
	return b.latency(ctx, k, 200, 1, 25*time.Millisecond, 0)
}

func (b *bench) loaded(ctx context.Context, k kind) (figures, error) {
	return b.latency(ctx, k, 2000, 4, 0, 0)
}

func (b *bench) slowSink(ctx context.Context, k kind) (figures, error) {
	return b.latency(ctx, k, 500, 4, 0, 20*time.Millisecond)
}

// quantile is the p-th of all, in milliseconds.
func quantile(all []time.Duration, p float64) float64 {
	if len(all) == 0 {
		return -1
	}
	slices.Sort(all)
	return float64(all[min(int(p*float64(len(all))), len(all)-1)].Microseconds()) / 1000
}

// spread tells of figures of several rounds the median, and the least and the most.
func spread(rounds []figures) figures {
	out := figures{}
	for name := range rounds[0] {
		var all []float64
		for _, r := range rounds {
			switch v := r[name].(type) {
			case float64:
				all = append(all, v)
			case int:
				all = append(all, float64(v))
			}
		}
		if len(all) == 0 {
			continue
		}
		slices.Sort(all)
		if name == "lost" { // never hidden behind a median
			out[name] = int(all[len(all)-1])
			continue
		}
		out[name] = all[len(all)/2]
		if len(all) > 1 {
			out[name+"_spread"] = fmt.Sprintf("%.4g..%.4g", all[0], all[len(all)-1])
		}
	}
	return out
}
