package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/inetaf/tcpproxy"

	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/shared/event"
)

// Replica is one process of the forwarder.
type Replica struct {
	*Process
	// URL is where its health and metrics are.
	URL string
	// hook is where it serves webhook and drain hooks.
	hook string
	// leaving is set once it was asked to end: its Service then leads to others, as a pod
	// that is deleted is no endpoint any more.
	leaving atomic.Bool
}

// Signal sends it a signal.
func (r *Replica) Signal(sig os.Signal) error {
	if sig == syscall.SIGTERM {
		r.leaving.Store(true)
	}
	return r.Process.Signal(sig)
}

// Stop asks it to end and makes it end after grace.
func (r *Replica) Stop(grace time.Duration) error {
	r.leaving.Store(true)
	return r.Process.Stop(grace)
}

// service is what the forwarder's Service is in a cluster: one address for as long as
// the stack runs, and behind it whichever ready replica takes the connection.
type service struct {
	proxy tcpproxy.Proxy
	addr  string

	mu       sync.Mutex
	next     int
	replicas []*Replica
}

func newService() (*service, error) {
	s := &service{}
	s.proxy.ListenFunc = func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err == nil {
			s.addr = l.Addr().String()
		}
		return l, err
	}
	s.proxy.AddRoute("127.0.0.1:0", &tcpproxy.DialProxy{
		Addr: "forwarder", DialContext: s.dial, OnDialError: func(src net.Conn, _ error) { _ = src.Close() },
	})
	if err := s.proxy.Start(); err != nil {
		return nil, fmt.Errorf("opening the forwarder's address: %w", err)
	}
	return s, nil
}

func (s *service) add(r *Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas = append(s.replicas, r)
}

// dial reaches one replica after the other until one takes the connection.
func (s *service) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	s.replicas = slices.DeleteFunc(s.replicas, (*Replica).ended)
	s.next++
	all := slices.Clone(s.replicas)
	if ready := slices.DeleteFunc(slices.Clone(all), func(r *Replica) bool { return r.leaving.Load() }); len(ready) > 0 {
		all = ready // else those that are leaving still serve, as by kube-proxy
	}
	first := s.next
	s.mu.Unlock()
	err := errors.New("no forwarder runs")
	for i := range all {
		var conn net.Conn
		var d net.Dialer
		if conn, err = d.DialContext(ctx, network, all[(first+i)%len(all)].hook); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (r *Replica) ended() bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

func (s *Stack) startService(context.Context) (err error) {
	s.service, err = newService()
	return err
}

// HookAddress is where the API server reaches the webhook and nodes the drain, host and
// port: the address of the forwarder's Services.
func (s *Stack) HookAddress() string { return s.service.addr }

func (s *Stack) startForwarder(ctx context.Context) (err error) {
	if s.o.NoForwarder || s.o.Install != nil {
		return nil
	}
	return s.StartForwarder(ctx, s.o.Transport)
}

// runForwarder runs the forwarder's program in a container: as its ServiceAccount, and on
// the pod's address alone.
func (s *Stack) runForwarder(l node.Launch) (node.Process, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	token, err := s.Cluster.ServiceAccountToken(ctx, l.Pod.Namespace, l.Pod.Spec.ServiceAccountName, 24*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("making a token of ServiceAccount %s: %w", l.Pod.Spec.ServiceAccountName, err)
	}
	kubeconfig := filepath.Join(s.Dir, l.Pod.Name+".kubeconfig")
	if err := writeKubeconfig(kubeconfig, s.link.Addr(), s.Cluster, token); err != nil {
		return nil, err
	}
	identity, err := s.admitIdentity(ctx, l.Pod)
	if err != nil {
		return nil, err
	}
	hook := net.JoinHostPort(l.IP.String(), "8443")
	env := append(append(l.Env, identity...), "LISTEN="+net.JoinHostPort(l.IP.String(), "8080"), "WEBHOOK_LISTEN="+hook)
	p, err := Run(s.forwarder, append(l.Args, "--kubeconfig="+kubeconfig), env, prefixed{s.o.Log, l.Pod.Name + " "})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", l.Container.Image, err)
	}
	r := &Replica{Process: p, URL: "http://" + net.JoinHostPort(l.IP.String(), "8080"), hook: hook}
	go func() {
		for !r.ended() { // one that ends before it is ready is its container's affair
			if awaitReady(context.Background(), p, r.URL+"/readyz") == nil {
				s.service.add(r)
				return
			}
		}
	}()
	return r, nil
}

// StartForwarder starts the forwarder with a transport, url, invoke or ByIdentity, where none
// runs, and waits until it is ready.
func (s *Stack) StartForwarder(ctx context.Context, transport string) error {
	r, err := s.StartReplica(ctx, "forwarder-0", transport)
	if r != nil {
		s.Forwarder, s.ForwarderURL = r.Process, r.URL
	}
	return err
}

// StartReplica starts a replica of the forwarder beside those that run, and waits until it
// is ready. If it doesn't get ready it is given with the error. Ending it is the caller's.
func (s *Stack) StartReplica(ctx context.Context, identity, transport string) (*Replica, error) {
	token, err := s.Cluster.ServiceAccountToken(ctx, Namespace, "forwarder", 24*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("making the forwarder's token: %w", err)
	}
	kubeconfig := filepath.Join(s.Dir, identity+".kubeconfig")
	if err := writeKubeconfig(kubeconfig, s.link.Addr(), s.Cluster, token); err != nil {
		return nil, err
	}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	hook, err := freeAddress()
	if err != nil {
		return nil, err
	}
	transport, keys, err := s.signing(ctx, identity, transport)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--kubeconfig=" + kubeconfig, "--cluster-id=" + ClusterID, "--claim=" + s.o.Claim, "--network=" + s.o.Network,
		"--identity=" + identity, "--listen=" + listen, "--webhook-listen=" + hook,
		"--webhook-url=https://" + s.service.addr + "/mutate", "--drain-address=" + s.service.addr,
		"--transport=" + transport, "--region=" + Region, "--scf-endpoint=" + s.SCF.Endpoint(), "--scf-scheme=HTTP", "--linger=100ms",
	}
	for _, f := range event.Functions {
		args = append(args, fmt.Sprintf("--%s-url=%s", f, s.SCF.URL(string(f))), fmt.Sprintf("--%s-function=%s", f, s.SCF.Function(string(f))))
	}
	p, err := Run(s.forwarder, args, append(keys, "EVENT_SECRET="+s.EventSecret), prefixed{s.o.Log, identity + " "})
	if err != nil {
		return nil, fmt.Errorf("starting the forwarder: %w", err)
	}
	r := &Replica{Process: p, URL: "http://" + listen, hook: hook}
	if err := awaitReady(ctx, p, r.URL+"/readyz"); err != nil {
		return r, err
	}
	s.service.add(r)
	return r, nil
}

// StopForwarder ends the forwarder, if one runs, as a rolling update would.
func (s *Stack) StopForwarder() error {
	if s.Forwarder == nil {
		return nil
	}
	err := s.Forwarder.Stop(30 * time.Second)
	s.Forwarder = nil
	return err
}
