package kube

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// Times of a Lease. The holder counts its time from before it asked, and a second
// less than the others grant it: the server's clock is read in whole seconds.
const (
	LeaseDuration = 10 * time.Second
	leaseSlack    = time.Second
	// comeAgain is when to ask again for a Lease that somebody holds: a pass lasts
	// about two seconds, and most are shorter.
	comeAgain = 300 * time.Millisecond
)

// Lease is a held coordination.k8s.io Lease: whoever holds it may write to the CLB
// it is named for.
type Lease struct {
	c               *Client
	namespace, name string
	holder          string
	// Doubtful: whoever held it before never gave it back, or in doubt. A write of theirs
	// that nobody has seen the end of may still take effect.
	Doubtful bool

	mu     sync.Mutex
	object coordinationv1.Lease
	// until is when we must have stopped writing, by our own monotonic clock.
	until time.Time
}

// Acquire takes the Lease of the given name for holder. It is taken from another
// holder only when that one's time is over by the API server's clock, or when its
// attempt is among ended, which the platform vouches for. A Conflict error says
// who holds it and when to come again.
func (c *Client) Acquire(ctx context.Context, namespace, name, holder string, ended []string) (*Lease, error) {
	op := "taking Lease " + name
	if err := c.Check(ctx); err != nil {
		return nil, err
	}
	l := &Lease{c: c, namespace: namespace, name: name, holder: holder}
	asked := c.clock.now()
	err := c.leases.Get().Namespace(namespace).Resource("leases").Name(name).Do(ctx).Into(&l.object)
	switch e := classify(op, err); {
	case fault.Is(e, fault.NotFound):
		return l, l.create(ctx, op)
	case e != nil:
		return nil, e
	}
	now, err := c.clock.Now()
	if err != nil {
		return nil, err
	}
	by, left := heldBy(&l.object, now)
	if by != "" && by != holder && left > 0 && !slices.Contains(ended, by) {
		return nil, &fault.Error{Kind: fault.Conflict, Op: op, RetryAfter: min(left, comeAgain), Err: fmt.Errorf("attempt %s holds it for another %s", by, left.Round(100*time.Millisecond))}
	}
	l.Doubtful = by != ""
	return l, l.write(ctx, op, holder, asked)
}

// Held tells whether somebody has the Lease of the given name now.
func (c *Client) Held(ctx context.Context, namespace, name string) (bool, error) {
	op := "looking at Lease " + name
	if err := c.Check(ctx); err != nil {
		return false, err
	}
	var object coordinationv1.Lease
	err := c.leases.Get().Namespace(namespace).Resource("leases").Name(name).Do(ctx).Into(&object)
	switch e := classify(op, err); {
	case fault.Is(e, fault.NotFound):
		return false, nil
	case e != nil:
		return false, e
	}
	now, err := c.clock.Now()
	if err != nil {
		return false, err
	}
	by, left := heldBy(&object, now)
	return by != "" && left > 0, nil
}

// heldBy tells who holds a Lease at now, and for how long still.
func heldBy(l *coordinationv1.Lease, now time.Time) (string, time.Duration) {
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" || l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return "", 0
	}
	end := l.Spec.RenewTime.Add(time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second)
	return *l.Spec.HolderIdentity, end.Sub(now)
}

// Hold makes sure that the Lease outlasts d from now, renewing it if need be. It
// is called before every write. A Conflict means that it was lost.
func (l *Lease) Hold(ctx context.Context, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := l.c.clock.now()
	if l.until.Sub(asked) >= d {
		return nil
	}
	return l.write(ctx, "renewing Lease "+l.name, l.holder, asked)
}

// Release lets the next one have it at once. In doubt, which is when a write may still
// take effect, its holder stays on record, as one whose time is over. Failing to is
// harmless: it expires.
func (l *Lease) Release(ctx context.Context, doubt bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	op, now := "releasing Lease "+l.name, l.c.clock.now()
	if !doubt {
		return l.write(ctx, op, "", now)
	}
	stamp, err := l.c.clock.Stamp()
	if err != nil {
		return err
	}
	l.fill(l.holder, stamp.Add(-2*LeaseDuration))
	return l.put(ctx, op, now)
}

// create makes a Lease that was never there. The server's clock is known only from
// its last answer, the one that said so.
func (l *Lease) create(ctx context.Context, op string) error {
	asked := l.c.clock.now()
	now, err := l.c.clock.Stamp()
	if err != nil {
		return err
	}
	l.object = coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: l.name}}
	l.fill(l.holder, now)
	if err := l.c.leases.Post().Namespace(l.namespace).Resource("leases").Body(&l.object).Do(ctx).Into(&l.object); err != nil {
		return classify(op, err)
	}
	l.until = asked.Add(LeaseDuration - leaseSlack)
	return nil
}

func (l *Lease) write(ctx context.Context, op, holder string, asked time.Time) error {
	now, err := l.c.clock.Stamp()
	if err != nil {
		return err
	}
	l.fill(holder, now)
	return l.put(ctx, op, asked)
}

// put writes the Lease as it is filled.
func (l *Lease) put(ctx context.Context, op string, asked time.Time) error {
	var out coordinationv1.Lease
	if err := l.c.leases.Put().Namespace(l.namespace).Resource("leases").Name(l.name).Body(&l.object).Do(ctx).Into(&out); err != nil {
		return classify(op, err) // somebody else was faster: the resourceVersion differs
	}
	l.object = out
	l.until = asked.Add(LeaseDuration - leaseSlack)
	return nil
}

func (l *Lease) fill(holder string, now time.Time) {
	seconds := int32(LeaseDuration / time.Second)
	at := metav1.NewMicroTime(now)
	s := &l.object.Spec
	if s.HolderIdentity == nil || *s.HolderIdentity != holder {
		s.AcquireTime = &at
	}
	s.HolderIdentity, s.LeaseDurationSeconds, s.RenewTime = &holder, &seconds, &at
}
