package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// probeKind is one of a container's three probes.
type probeKind string

const (
	startupProbe   probeKind = "startup"
	readinessProbe probeKind = "readiness"
	livenessProbe  probeKind = "liveness"
)

var probeKinds = []probeKind{startupProbe, readinessProbe, livenessProbe}

// The user agents of the kubelet's requests, with the version emulated.
const (
	probeAgent = "kube-probe/"
	probeUA    = probeAgent + "1.37"
	hookUA     = "kube-lifecycle/1.37"
)

// of returns the container's probe of this kind, nil if it has none.
func (k probeKind) of(c *corev1.Container) *corev1.Probe {
	switch k {
	case startupProbe:
		return c.StartupProbe
	case readinessProbe:
		return c.ReadinessProbe
	default:
		return c.LivenessProbe
	}
}

// title is the kind as the kubelet's Events begin.
func (k probeKind) title() string { return strings.ToUpper(string(k[:1])) + string(k[1:]) }

// prober probes one container, from its start to its end, for one kind of probe
// (the kubelet's prober/worker.go).
type prober struct {
	kind      probeKind
	spec      *corev1.Probe
	container *corev1.Container
	addr      netip.Addr
	app       *app
	started   *atomic.Bool // the container's startup probe has succeeded
	startedAt time.Time
	client    *http.Client
	from      netip.Addr
	trigger   chan struct{}

	// settled is told of a result that has reached its threshold and differs from
	// the last such result; failed of every single failure.
	settled func(success bool)
	failed  func(output string)
}

// errThrownAway marks a probe that couldn't be carried out: its result counts
// for nothing.
var errThrownAway = errors.New("result thrown away")

// run probes until ctx ends or there is nothing more to learn.
func (p *prober) run(ctx context.Context) {
	ticker := time.NewTicker(seconds(max(p.spec.PeriodSeconds, 1)))
	defer ticker.Stop()
	var streak tally
	for {
		if p.due() {
			if p.once(ctx, &streak) {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-p.trigger:
			ticker.Reset(seconds(max(p.spec.PeriodSeconds, 1)))
		}
	}
}

// due says whether the container is to be probed at this tick. The kubelet
// compares whole seconds.
func (p *prober) due() bool {
	if int32(time.Since(p.startedAt).Seconds()) < p.spec.InitialDelaySeconds {
		return false
	}
	return p.kind == startupProbe || p.started.Load()
}

// once probes and reports; it says whether probing is over. Liveness ends with
// its first settled failure and startup with any settled result: the container's
// next start has probers of its own.
func (p *prober) once(ctx context.Context, streak *tally) (over bool) {
	ctx, cancel := context.WithTimeout(ctx, seconds(max(p.spec.TimeoutSeconds, 1)))
	defer cancel()
	output, err := p.probe(ctx)
	switch {
	case errors.Is(err, errThrownAway) || errors.Is(context.Cause(ctx), context.Canceled):
		return false
	case err != nil:
		p.failed(err.Error())
	case output != "":
		p.failed(output)
	}
	success := err == nil && output == ""
	if !streak.add(success, p.spec) {
		return false
	}
	p.settled(success)
	return p.kind == startupProbe || p.kind == livenessProbe && !success
}

// tally counts results in a row against the thresholds.
type tally struct {
	last    bool
	run     int32
	settled *bool
}

// add counts a result; it says whether a new settled result was reached.
func (t *tally) add(success bool, spec *corev1.Probe) bool {
	if t.run > 0 && t.last == success {
		t.run++
	} else {
		t.last, t.run = success, 1
	}
	threshold := spec.FailureThreshold
	if success {
		threshold = spec.SuccessThreshold
	}
	if t.run < threshold || t.settled != nil && *t.settled == success {
		return false
	}
	t.settled = &success
	return true
}

// probe asks once. A failure is an error or an output.
func (p *prober) probe(ctx context.Context) (output string, err error) {
	switch {
	case p.spec.HTTPGet != nil:
		return p.probeHTTP(ctx)
	case p.spec.TCPSocket != nil:
		n, err := resolvePort(p.spec.TCPSocket.Port, p.container)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errThrownAway, err)
		}
		host := p.spec.TCPSocket.Host
		if host == "" {
			host = p.addr.String()
		}
		conn, err := dialer(p.from, 0).DialContext(ctx, "tcp4", net.JoinHostPort(host, strconv.Itoa(int(n))))
		if err != nil {
			return "", err
		}
		conn.Close()
		return "", nil
	default:
		if !p.app.passes(p.kind) {
			return "the application says that it is " + p.app.currentState(), nil
		}
		return "", nil
	}
}

func (p *prober) probeHTTP(ctx context.Context) (output string, err error) {
	req, err := getRequest(ctx, p.spec.HTTPGet, p.container, p.addr, probeUA)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errThrownAway, err)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 10<<10))
	if res.StatusCode < http.StatusOK || res.StatusCode >= http.StatusBadRequest {
		return fmt.Sprintf("HTTP probe failed with statuscode: %d", res.StatusCode), nil
	}
	return "", nil
}

// getRequest makes the request of a probe or hook (the kubelet's
// NewRequestForHTTPGetAction): host, port and scheme as given, the pod's address
// by default.
func getRequest(ctx context.Context, get *corev1.HTTPGetAction, c *corev1.Container, addr netip.Addr, agent string) (*http.Request, error) {
	n, err := resolvePort(get.Port, c)
	if err != nil {
		return nil, err
	}
	host := get.Host
	if host == "" {
		host = addr.String()
	}
	u, err := url.Parse(get.Path)
	if err != nil {
		u = &url.URL{Path: get.Path}
	}
	u.Scheme = "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		u.Scheme = "https"
	}
	u.Host = net.JoinHostPort(host, strconv.Itoa(int(n)))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Accept", "*/*")
	replaced := map[string]bool{}
	for _, h := range get.HTTPHeaders {
		if name := http.CanonicalHeaderKey(h.Name); !replaced[name] {
			replaced[name] = true
			req.Header.Del(name)
		}
		req.Header.Add(h.Name, h.Value)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	return req, nil
}

// client makes the HTTP client of a node's probes and hooks: a connection for
// each request, from the node's address, certificates not verified, redirects
// followed only on the same host, no timeout of its own.
func client(from netip.Addr) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:        dialer(from, 0).DialContext,
			DisableKeepAlives:  true,
			DisableCompression: true,
			// The kubelet verifies none either: pods have certificates of their own.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: checkRedirect,
	}
}

// hookClient is what a kubelet runs preStop hooks with: unlike probes they go over kept
// connections, where there are any (kubelet.go, insecureContainerLifecycleHTTPClient).
func hookClient(from netip.Addr) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:     dialer(from, 0).DialContext,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: checkRedirect,
	}
}

// checkRedirect follows where the host stays the same (pkg/probe/http, RedirectChecker).
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case req.URL.Hostname() != via[0].URL.Hostname():
		return http.ErrUseLastResponse
	case len(via) >= 10:
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

func seconds[T int32 | int64](n T) time.Duration { return time.Duration(n) * time.Second }
