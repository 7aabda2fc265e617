package drain

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/shared/admission"
)

// Door knows where drain hooks lead. A pod keeps the address for all of its life, so
// that it is the one address of a Service of its own, which stays.
type Door struct {
	client             kubernetes.Interface
	namespace, service string

	mu   sync.Mutex
	host string
	port int
}

// NewDoor makes a door that leads to a Service's ClusterIP at port 443, once Run has
// found it, or at once to a fixed address, host:port. With neither there are no hooks.
func NewDoor(client kubernetes.Interface, namespace, service, address string) (*Door, error) {
	d := &Door{client: client, namespace: namespace, service: service}
	if address == "" {
		return d, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		d.port, err = strconv.Atoi(port)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the drain address: %w", err)
	}
	d.host, d.service = host, ""
	return d, nil
}

// Hook says where a new pod's hooks lead, with a new token; false while that isn't known.
func (d *Door) Hook() (admission.Drain, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return admission.Drain{Host: d.host, Port: d.port, Token: rand.Text()}, d.host != ""
}

// Run reads the Service now and then until ctx ends. While it can't be read, the address
// known last is good: it never changes as long as the Service is there.
func (d *Door) Run(ctx context.Context, every time.Duration, log *slog.Logger) {
	if d.service == "" {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := d.look(ctx); err != nil && ctx.Err() == nil {
			log.Error("looking for the drain Service", "error", err)
		}
		timer.Reset(every)
	}
}

func (d *Door) look(ctx context.Context) error {
	s, err := d.client.CoreV1().Services(d.namespace).Get(ctx, d.service, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Service %s/%s: %w", d.namespace, d.service, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.host, d.port = s.Spec.ClusterIP, 443
	if d.host == corev1.ClusterIPNone {
		d.host = ""
		return fmt.Errorf("reading Service %s/%s: it has no address of its own", d.namespace, d.service)
	}
	return nil
}
