package webhook

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// listTimeout leaves the API server, which waits 3 s for us, time to go on.
const listTimeout = 1500 * time.Millisecond

// Fresh lists the claimed Services of a namespace, whoever asks meanwhile sharing
// the next list: one that began before the question could miss what was made
// before the question.
type Fresh struct {
	list func(ctx context.Context, namespace string) ([]model.Service, error)

	mu      sync.Mutex
	flights map[string]*flight
}

// flight is a namespace's list under way, and the one that comes after it.
type flight struct{ next *call }

type call struct {
	done     chan struct{}
	services []model.Service
	err      error
}

// NewFresh lists with client what policy claims.
func NewFresh(client kubernetes.Interface, policy desired.Policy) *Fresh {
	return newFresh(func(ctx context.Context, namespace string) ([]model.Service, error) {
		list, err := client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("listing Services: %w", err)
		}
		var out []model.Service
		for i := range list.Items {
			svc := kube.ServiceFrom(&list.Items[i])
			if claimed, _ := desired.Claimed(&svc, policy); claimed {
				out = append(out, svc)
			}
		}
		return out, nil
	})
}

func newFresh(list func(context.Context, string) ([]model.Service, error)) *Fresh {
	return &Fresh{list: list, flights: map[string]*flight{}}
}

// Services gives the claimed Services of a namespace as they are now or later.
func (f *Fresh) Services(ctx context.Context, namespace string) ([]model.Service, error) {
	c := f.join(namespace)
	select {
	case <-c.done:
		return c.services, c.err
	case <-ctx.Done():
		return nil, noAnswer(ctx)
	}
}

func (f *Fresh) join(namespace string) *call {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := f.flights[namespace]; at != nil {
		if at.next == nil {
			at.next = &call{done: make(chan struct{})}
		}
		return at.next
	}
	c := &call{done: make(chan struct{})}
	f.flights[namespace] = &flight{}
	go f.fly(namespace, c)
	return c
}

// fly lists until nobody waits for another list.
func (f *Fresh) fly(namespace string, c *call) {
	for c != nil {
		ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
		c.services, c.err = f.list(ctx, namespace)
		cancel()
		close(c.done)
		f.mu.Lock()
		at := f.flights[namespace]
		c, at.next = at.next, nil
		if c == nil {
			delete(f.flights, namespace)
		}
		f.mu.Unlock()
	}
}
