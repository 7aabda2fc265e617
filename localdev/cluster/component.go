package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"
)

// Component names one program of the control plane.
type Component string

// The components of a control plane, by the names of their programs.
const (
	Etcd              Component = "etcd"
	APIServer         Component = "kube-apiserver"
	ControllerManager Component = "kube-controller-manager"
	Scheduler         Component = "kube-scheduler"
)

// readyPoll is the time between two looks at a component that isn't ready yet.
const readyPoll = 50 * time.Millisecond

// errPortTaken says that a component ended because its port was taken.
var errPortTaken = errors.New("the port is taken")

// spec is all it takes to start a component, and to start it again.
type spec struct {
	program string
	args    []string
	env     []string
	logFile string
	log     io.Writer
	ready   string
}

// PID returns the process id of a component, 0 if it isn't running.
func (c *Cluster) PID(name Component) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.running[name]
	if p == nil || p.ended() {
		return 0
	}
	return p.pid
}

// Kill ends a component with SIGKILL, as a crash would, and waits for it.
func (c *Cluster) Kill(name Component) error {
	c.mu.Lock()
	p := c.running[name]
	delete(c.running, name)
	c.mu.Unlock()
	if p == nil {
		return fmt.Errorf("killing %s: it isn't running", name)
	}
	return p.kill()
}

// Restart starts a component that was killed (or ends and starts one that runs)
// with the same address, keys and data, and waits until it is ready.
func (c *Cluster) Restart(ctx context.Context, name Component) error {
	c.mu.Lock()
	p := c.running[name]
	delete(c.running, name)
	c.mu.Unlock()
	if p != nil {
		if err := p.stop(); err != nil {
			return err
		}
	}
	if err := c.start(name); err != nil {
		return err
	}
	return c.awaitReady(ctx, name)
}

func (c *Cluster) start(name Component) error {
	s, ok := c.specs[name]
	if !ok {
		return fmt.Errorf("starting %s: not a component of this cluster", name)
	}
	p, err := startProcess(name, s)
	if err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	c.mu.Lock()
	c.running[name] = p
	c.mu.Unlock()
	return nil
}

// awaitReady waits until a component's readiness endpoint answers 200. It fails
// at once, with the end of its log, when the process is gone.
func (c *Cluster) awaitReady(ctx context.Context, name Component) error {
	c.mu.Lock()
	p, s := c.running[name], c.specs[name]
	c.mu.Unlock()

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}

	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	var last error
	for {
		if last = askReady(ctx, client, s.ready); last == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.explainEnd()
		case <-ctx.Done():
			return fmt.Errorf("awaiting %s: %w (last answer: %w); its log ends:\n%s", name, ctx.Err(), last, tail(p.spec.logFile))
		case <-tick.C:
		}
	}
}

func askReady(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", res.Status)
	}
	return nil
}

func logPath(dir string, name Component) string {
	return filepath.Join(dir, "logs", string(name)+".log")
}
