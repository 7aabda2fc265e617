package main

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/cluster"
)

// with runs f beside a forwarder that has told everything there is, and counts what is
// lost of keys in the end.
func (b *bench) with(ctx context.Context, k kind, keys []*key, f func(p *program) (*program, error)) (figures, error) {
	p, err := b.start(k, "losses")
	if err != nil {
		return nil, err
	}
	defer func() { p.stop() }()
	if err := b.attached(ctx, p, b.keys[:b.o.pods]); err != nil {
		return nil, err
	}
	b.sink.forget()
	defer b.sink.behave(0, nil)
	if p, err = f(p); err != nil {
		return nil, err
	}
	end := time.Now()
	// Whoever backs off does so for up to five seconds, or a minute.
	lost, last := b.await(keys, 20*time.Second)
	out := figures{"lost": lost, "changes": len(keys)}
	if !last.IsZero() {
		out["last_ms_late"] = float64(last.Sub(end).Milliseconds())
	}
	return out, nil
}

// away has the sink answer a status for a while, in which each key changes once.
func (b *bench) away(ctx context.Context, k kind, status int, during time.Duration) (figures, error) {
	keys := b.keys[:40]
	return b.with(ctx, k, keys, func(p *program) (*program, error) {
		b.sink.behave(0, func() int { return status })
		began := time.Now()
		for i, k := range keys {
			if err := b.write(ctx, k); err != nil {
				return p, err
			}
			time.Sleep(time.Until(began.Add(time.Duration(i+1) * during / time.Duration(len(keys)))))
		}
		b.sink.behave(0, nil)
		return p, nil
	})
}

func (b *bench) sinkAway(ctx context.Context, k kind) (figures, error) {
	return b.away(ctx, k, http.StatusServiceUnavailable, b.o.outage)
}

func (b *bench) http500(ctx context.Context, k kind) (figures, error) {
	return b.away(ctx, k, http.StatusInternalServerError, 5*time.Second)
}

// refused closes the sink's port for a while.
func (b *bench) refused(ctx context.Context, k kind) (figures, error) {
	keys := b.keys[:40]
	return b.with(ctx, k, keys, func(p *program) (*program, error) {
		address := b.sink.listener.Addr().String()
		b.sink.close()
		for _, k := range keys {
			if err := b.write(ctx, k); err != nil {
				return p, err
			}
			time.Sleep(9 * time.Second / time.Duration(len(keys)))
		}
		return p, b.sink.open(address)
	})
}

// crash kills the forwarder, changes and deletes pods, and starts it again.
func (b *bench) crash(ctx context.Context, k kind) (figures, error) {
	keys := b.keys[:50]
	f, err := b.with(ctx, k, keys, func(p *program) (*program, error) {
		if err := p.signal(syscall.SIGKILL); err != nil {
			return p, err
		}
		for i, k := range keys {
			do := b.write
			if i >= 30 {
				do = b.remove
			}
			if err := do(ctx, k); err != nil {
				return p, err
			}
		}
		again, err := b.start(k, "losses")
		if err != nil {
			return p, err
		}
		return again, nil
	})
	if err != nil {
		return nil, err
	}
	return f, b.populate(ctx, len(b.keys), small)
}

// apiServer kills the API server, changes and deletes pods behind its back, and starts it
// again.
func (b *bench) apiServer(ctx context.Context, k kind) (figures, error) {
	keys := b.keys[:50]
	f, err := b.with(ctx, k, keys, func(p *program) (*program, error) {
		if err := b.cluster.Kill(cluster.APIServer); err != nil {
			return p, fmt.Errorf("killing the API server: %w", err)
		}
		for i, k := range keys {
			if i < 30 {
				if err := b.rewrite(ctx, k); err != nil {
					return p, err
				}
				continue
			}
			version, err := b.cluster.Remove(ctx, "pods", k.namespace, k.name)
			if err != nil {
				return p, err
			}
			k.gone, k.version = true, version
		}
		return p, b.cluster.Restart(ctx, cluster.APIServer)
	})
	if err != nil {
		return nil, err
	}
	return f, b.populate(ctx, len(b.keys), small)
}
