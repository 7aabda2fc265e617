// Command main is every cloud function of clb-direct in one executable: the last
// part of the name that SCF calls it by says which one it is.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tencentyun/scf-go-lib/cloudfunction"
	"github.com/tencentyun/scf-go-lib/functioncontext"

	"github.com/clb-direct/clb-direct/functions/backends"
	"github.com/clb-direct/clb-direct/functions/door"
	"github.com/clb-direct/clb-direct/functions/explain"
	"github.com/clb-direct/clb-direct/functions/frontend"
	"github.com/clb-direct/clb-direct/functions/readiness"
	"github.com/clb-direct/clb-direct/functions/resync"
	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/config"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/reconcile"
)

// handlers are the functions there are.
var handlers = map[event.Function]func(context.Context, *reconcile.World, event.Request) event.Reply{
	event.Frontend:  frontend.Handle,
	event.Backends:  backends.Handle,
	event.Readiness: readiness.Handle,
	event.Resync:    resync.Handle,
	event.Explain:   explain.Handle,
}

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	cloudfunction.StartHandler(&instance{log: log})
}

// instance is one process of one function. The platform gives it one event at a
// time; what it keeps between events are connections, never state.
type instance struct {
	log *slog.Logger

	mu   sync.Mutex
	door *door.Door
}

// Invoke is called by scf-go-lib with the raw payload.
func (i *instance) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	d, err := i.open(ctx)
	if err != nil {
		i.log.Error("not ready", "error", err.Error())
		return nil, err
	}
	return d.Invoke(ctx, payload)
}

// open reads the configuration at the first event, when the platform has said which
// function this is and how much memory it has.
func (i *instance) open(ctx context.Context) (*door.Door, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.door != nil {
		return i.door, nil
	}
	which := ""
	if fc, ok := functioncontext.FromContext(ctx); ok {
		which = fc.FunctionName
		if fc.MemoryLimitInMb > 0 {
			// The collector works harder before the platform kills us for it.
			debug.SetMemoryLimit(int64(fc.MemoryLimitInMb) << 20 * 7 / 10)
		}
	}
	function := event.Function(which[strings.LastIndexByte(which, '-')+1:])
	handle, ok := handlers[function]
	if !ok {
		return nil, fault.Invalidf("function name", "is %q, must end in one of %v", which, slices.Sorted(maps.Keys(handlers)))
	}
	cfg, err := config.Load(os.Getenv)
	if err != nil {
		return nil, err
	}
	world, err := newWorld(cfg, i.log)
	if err != nil {
		return nil, err
	}
	i.door = &door.Door{
		Function: function,
		Cluster:  cfg.Policy.Cluster,
		Secret:   cfg.EventSecret,
		Handle: func(ctx context.Context, r event.Request) event.Reply {
			return handle(ctx, world, r)
		},
		Now: time.Now,
		Log: i.log,
	}
	return i.door, nil
}

func newWorld(cfg config.Config, log *slog.Logger) (*reconcile.World, error) {
	k, err := kube.New(cfg.Kube)
	if err != nil {
		return nil, fmt.Errorf("making the Kubernetes client: %w", err)
	}
	c, err := clb.New(clb.Options{Region: cfg.Region, Endpoint: cfg.CLBEndpoint, Credentials: roleCredentials, Log: log})
	if err != nil {
		return nil, err
	}
	return &reconcile.World{Kube: k, CLB: c, Policy: cfg.Policy, VPC: cfg.VPC, LeaseNamespace: cfg.LeaseNamespace, Now: time.Now, Log: log}, nil
}

// roleCredentials are those of the function's execution role. The platform sets
// them anew with each event, so they are never kept.
func roleCredentials() (id, key, token string) {
	return os.Getenv("TENCENTCLOUD_SECRETID"), os.Getenv("TENCENTCLOUD_SECRETKEY"), os.Getenv("TENCENTCLOUD_SESSIONTOKEN")
}
