package webhook

import (
	"context"
	"log/slog"
	"time"
)

// Upkeep keeps certificate and registration in order while it runs.
type Upkeep struct {
	Keeper       *Keeper
	Registration *Registration
	// Every is how often both are read again, so that what others broke is mended;
	// default 30 s.
	Every time.Duration
	Log   *slog.Logger

	changed chan struct{}
}

// NewUpkeep makes an upkeep; fields may be set until Run.
func NewUpkeep(k *Keeper, r *Registration, log *slog.Logger) *Upkeep {
	return &Upkeep{Keeper: k, Registration: r, Every: 30 * time.Second, Log: log, changed: make(chan struct{}, 1)}
}

// Changed says that the namespaces may be others now. It never blocks.
func (u *Upkeep) Changed() {
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

// Run keeps until ctx ends. After a failure it tries again within seconds.
func (u *Upkeep) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var material Material
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.changed:
			if material.Authority == nil {
				continue // the first round does it all
			}
			if err := u.Registration.Ensure(ctx, material.Authority); err != nil && ctx.Err() == nil {
				u.Log.Error("keeping the webhook", "error", err)
				timer.Reset(retry)
			}
		case <-timer.C:
			next := u.Every
			if m, err := u.round(ctx); err != nil {
				if ctx.Err() == nil {
					u.Log.Error("keeping the webhook", "error", err)
				}
				next = retry
			} else {
				material = m
			}
			timer.Reset(next)
		}
	}
}

// retry is the pause after a failure.
const retry = 2 * time.Second

// round reads and mends everything. The API server is told of a new authority
// before anything signed by it is served.
func (u *Upkeep) round(ctx context.Context) (Material, error) {
	m, err := u.Keeper.Load(ctx)
	if err != nil {
		return m, err
	}
	u.Registration.Forget()
	if err = u.Registration.Ensure(ctx, m.Authority); err != nil && u.Keeper.Ready() {
		return m, err
	}
	if served := u.Keeper.Serve(m); served != nil {
		return m, served
	}
	return m, err
}
