package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// pause is what a visitor does between two requests of a constant load.
const pause = 20 * time.Millisecond

// press has visitors like v send, from all the addresses, over new and over kept
// connections, at a constant rate until stop is called; i counts the requests of each.
func press(ctx context.Context, from []string, v visitor, send func(client *http.Client, i int)) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, v.from = range from {
		for _, v.keepAlive = range []bool{true, false} {
			client := v.client()
			wg.Go(func() {
				defer client.CloseIdleConnections()
				tick := time.NewTicker(pause)
				defer tick.Stop()
				for i := 0; ; i++ {
					send(client, i)
					select {
					case <-done:
						return
					case <-ctx.Done():
						return
					case <-tick.C:
					}
				}
			})
		}
	}
	return sync.OnceFunc(func() {
		close(done)
		wg.Wait()
	})
}

// visitor gives one that knows the hosts and believes their certificate.
func (d *ingressShow) visitor(from string, keepAlive bool) visitor {
	return visitor{from: from, keepAlive: keepAlive, roots: d.roots, resolve: d.resolve}
}

// visit sends a request that a pod of the site is to answer.
func (d *ingressShow) visit(ctx context.Context, client *http.Client, at site) error {
	kept := false
	a, err := get(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { kept = info.Reused },
	}), client, at.url)
	if err == nil && !strings.HasPrefix(a.Pod, at.app+"-") {
		err = fmt.Errorf("%s answered", a.Pod)
	}
	d.tally.add(at.host, a.Pod, kept, err)
	if err != nil {
		d.say("  %6.1fs  a request to %s failed: %v", d.elapsed(time.Now()), at.url, err)
	}
	return err
}

// visitAll sends n requests to each site, each over a connection of its own, and
// shows who answered.
func (d *ingressShow) visitAll(ctx context.Context, n int, sites ...site) error {
	for _, at := range sites {
		client := d.visitor(d.clients()[0], false).client()
		for range n {
			if err := d.visit(ctx, client, at); err != nil {
				return fmt.Errorf("asking %s: %w", at.url, err)
			}
		}
		h := d.tally.now().ByHost[at.host]
		d.say("  %d sent to %s, %d failed", h.Total, at.url, h.Failed)
		d.sayPerPod(h.PerPod)
	}
	return nil
}

// redirects asks the hosts over HTTP, which sends to the same address over HTTPS.
func (d *ingressShow) redirects(ctx context.Context) error {
	client := d.visitor(d.clients()[1], false).client()
	for _, at := range d.sites {
		want := at.url + "?n=1"
		plain := "http" + strings.TrimPrefix(want, "https")
		d.result.Redirects.Sent++
		res, err := d.moved(ctx, client, plain)
		if err != nil {
			return fmt.Errorf("asking %s: %w", plain, err)
		}
		to := res.Header.Get("Location")
		d.say("  %s: %s, %s", plain, res.Status, to)
		if res.StatusCode != http.StatusMovedPermanently || to != want {
			return fmt.Errorf("asking %s: %s to %q, want 301 to %s", plain, res.Status, to, want)
		}
		d.result.Redirects.Moved++
		if err := d.visit(ctx, client, site{at.host, to, at.app}); err != nil {
			return fmt.Errorf("following to %s: %w", to, err)
		}
		d.result.Redirects.Followed++
	}
	return nil
}

// moved asks until it is redirected, or for ten seconds: no pod's gate speaks of redirects,
// and that the API has one doesn't say that the CLB follows it yet.
func (d *ingressShow) moved(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	for end := time.Now().Add(10 * time.Second); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		res, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusMovedPermanently || time.Now().After(end) {
			return res, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// load sends requests to all sites until stop is called, from visitors that keep
// their connections and such that don't. stop tells what was sent meanwhile.
func (d *ingressShow) load(ctx context.Context) (stop func() IngressRequests) {
	before := d.tally.now()
	end := press(ctx, d.clients(), visitor{roots: d.roots, resolve: d.resolve}, func(client *http.Client, i int) {
		// A failure has been counted and shown.
		_ = d.visit(ctx, client, d.sites[i%len(d.sites)])
	})
	return sync.OnceValue(func() IngressRequests {
		end()
		sent := d.tally.now()
		return IngressRequests{Total: sent.Total - before.Total, Failed: sent.Failed - before.Failed, Kept: sent.Kept - before.Kept}
	})
}

// roll replaces every pod of a Deployment while requests come in.
func (d *ingressShow) roll(ctx context.Context) error {
	const name = "shop"
	u := RollingUpdate{Deployment: name, OldPods: d.board.of(name)}
	stop := d.load(ctx)
	defer stop()
	began := time.Now()
	err := d.kubectlAloud(ctx, "rollout", "restart", "deployment/"+name)
	if err == nil {
		// Of itself it waits until no old pod is left but such as are going.
		_, err = d.kubectl(ctx, "rollout", "status", "deployment/"+name, "--timeout=100s")
	}
	if err == nil {
		err = d.settle(ctx, 6)
	}
	u.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	sent := stop()
	u.NewPods = d.board.of(name)
	u.Requests, u.Failed, u.Kept = sent.Total, sent.Failed, sent.Kept
	d.result.RollingUpdate = u
	d.say("  %d requests in %.1f s, %d of them on kept connections; %d failed", u.Requests, u.Seconds, u.Kept, u.Failed)
	if u.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d requests failed", u.Failed, u.Requests))
	}
	return err
}
