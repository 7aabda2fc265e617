package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// pause is what a visitor does between two requests.
const pause = 20 * time.Millisecond

// load are visitors of one address, over new and over kept connections, each at a
// constant rate from start to stop.
type load struct {
	url              string
	requests, failed atomic.Int64
	say              func(format string, args ...any)

	done chan struct{}
	wg   sync.WaitGroup
}

func startLoad(url string, say func(string, ...any)) *load {
	l := &load{url: url, say: say, done: make(chan struct{})}
	for _, from := range []string{"127.0.0.81", "127.0.0.82"} {
		for _, keep := range []bool{true, false} {
			l.wg.Go(func() { l.visit(from, keep) })
		}
	}
	return l
}

func (l *load) visit(from string, keep bool) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: !keep}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: 5 * time.Second, Transport: transport}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if err := get(client, l.url); err != nil {
			l.failed.Add(1)
			l.say("  a request failed (kept connection: %t): %v", keep, err)
		}
		l.requests.Add(1)
		select {
		case <-l.done:
			return
		case <-tick.C:
		}
	}
}

// get asks and reads the whole answer.
func get(client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", res.Status)
	}
	return nil
}

func (l *load) stop() {
	close(l.done)
	l.wg.Wait()
}
