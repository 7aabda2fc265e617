// Package backend is the state of the CLB emulator: load balancers, listeners and
// targets, the tasks that change them, and the data plane they drive. It speaks no wire
// format; its errors carry the API's codes.
//
// One mutex guards everything. What takes time on the real thing (a task, propagation
// to the data plane) happens in goroutines that come back for it, so that no call waits
// longer than its own work.
package backend

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// Options set up a Backend.
type Options struct {
	Latencies Latencies
	Quotas    Quotas
	// Second is how long a second of a listener's settings lasts (IntervalTime,
	// TimeOut, SessionExpireTime, IdleConnectTimeout). Zero is a second.
	Second time.Duration
	// Public and Internal are what virtual addresses come from.
	Public, Internal netip.Prefix
	// UniqueBackends allows an address and port at one layer-4 listener of a load
	// balancer and protocol only: the stricter reading of an undecided rule.
	UniqueBackends bool
	// NameDefault refuses to delete the default domain of a listener that has others
	// unless a new one is named; otherwise the oldest of the others takes its place.
	NameDefault bool
	// Rebind makes registering a bound target change its weight and tag; otherwise it
	// is refused as a duplicate. The documentation doesn't say.
	Rebind bool
	// Interfaces are the addresses that network interfaces of the network have: no others
	// can be bound. None allows all.
	Interfaces []netip.Prefix
	// Plane is handed to the data plane.
	Plane dataplane.Options
	// Now is the clock of everything that is dated or limited; nil is time.Now.
	Now func() time.Time
	// Seed makes ids and latencies repeatable.
	Seed uint64
}

// Backend is the state. It is safe for concurrent use.
type Backend struct {
	opts  Options
	log   *slog.Logger
	plane *dataplane.Plane

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	rand      *rand.Rand
	seq       int
	lbs       map[string]*loadBalancer
	vips      *addresses
	tasks     map[string]*task
	taskOrder []string
	tokens    map[string]*token
	deletions []time.Time
	// unbindable are the addresses that can't be bound, by the location where; those at
	// the empty one nowhere.
	unbindable   map[string]map[netip.Addr]bool
	certificates certificates
}

// New starts an empty backend.
func New(ctx context.Context, opts Options) *Backend {
	if opts.Second == 0 {
		opts.Second = time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Plane.Log == nil {
		opts.Plane.Log = slog.New(slog.DiscardHandler)
	}
	opts.Plane.Seed = opts.Seed
	b := &Backend{
		opts:         opts,
		log:          opts.Plane.Log,
		plane:        dataplane.New(opts.Plane),
		rand:         rand.New(rand.NewPCG(opts.Seed, 1)),
		lbs:          map[string]*loadBalancer{},
		vips:         newAddresses(),
		tasks:        map[string]*task{},
		tokens:       map[string]*token{},
		unbindable:   map[string]map[netip.Addr]bool{},
		certificates: newCertificates(),
	}
	b.ctx, b.cancel = context.WithCancel(ctx)
	return b
}

// Close ends tasks, listeners and connections and waits for them.
func (b *Backend) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.running.Wait()
	b.plane.Close()
	b.vips.close()
}

// FailTargets sets which addresses can't be bound from now on at a location, or
// anywhere if it is empty, as if their network interface were attached to no node; none
// ends it there.
func (b *Backend) FailTargets(location string, ips ...netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	set := make(map[netip.Addr]bool, len(ips))
	for _, ip := range ips {
		set[ip] = true
	}
	b.unbindable[location] = set
}

// foreign says whether no network interface of the network has an address.
func (b *Backend) foreign(ip netip.Addr) bool {
	return len(b.opts.Interfaces) > 0 && !slices.ContainsFunc(b.opts.Interfaces, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// FreezeHealth keeps every verdict as it is while on.
func (b *Backend) FreezeHealth(on bool) { b.plane.FreezeVerdicts(on) }

// Op is one call to the backend.
type Op struct {
	// ID is the request's id, and that of the task it starts.
	ID string
	// FailTask, if set, makes the task fail with that message, with nothing applied; a
	// call that starts no task then fails itself.
	FailTask string
}

// loadBalancer is one instance; Backend.mu guards it.
type loadBalancer struct {
	info LoadBalancer
	seq  int
	// vip is reserved from the start, and shown when the instance is normal.
	vip       netip.Addr
	listeners []*listener
	// task is the running one, busyUntil how long the instance refuses the next write.
	task      string
	busyUntil time.Time
	queue     queue
}

func failure(code, format string, args ...any) error {
	return &tc3.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (b *Backend) find(id string) (*loadBalancer, error) {
	lb := b.lbs[id]
	if lb == nil {
		return nil, failure("InvalidParameter.LBIdNotFound", "Loadbalancer %s not found.", id)
	}
	return lb, nil
}

// newID makes an id like the real ones: a prefix and eight letters and digits.
func (b *Backend) newID(prefix string) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	id := []byte(prefix)
	for range 8 {
		id = append(id, letters[b.rand.IntN(len(letters))])
	}
	return string(id)
}

func (b *Backend) between(r Range) time.Duration {
	if r.Max <= r.Min {
		return r.Min
	}
	return r.Min + time.Duration(b.rand.Int64N(int64(r.Max-r.Min)))
}

// inOrder lists the load balancers, oldest first.
func (b *Backend) inOrder() []*loadBalancer {
	lbs := make([]*loadBalancer, 0, len(b.lbs))
	for _, lb := range b.lbs {
		lbs = append(lbs, lb)
	}
	slices.SortFunc(lbs, func(x, y *loadBalancer) int { return x.seq - y.seq })
	return lbs
}
