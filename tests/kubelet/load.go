package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// tally counts requests.
type tally struct {
	Requests int `json:"requests"`
	Failed   int `json:"failed"`
	// WrongPod counts answers of a pod that isn't behind the Service asked, Premature
	// those of an application that says itself that it isn't ready, Strangers those to
	// somebody else's address than the client's.
	WrongPod  int `json:"wrong_pod"`
	Premature int `json:"premature"`
	Strangers int `json:"client_address_lost"`
	// Failures are the first ones.
	Failures []string `json:"failures,omitempty"`
}

// add takes another's counts.
func (a *tally) add(b tally) {
	a.Requests += b.Requests
	a.Failed += b.Failed
	a.WrongPod += b.WrongPod
	a.Premature += b.Premature
	a.Strangers += b.Strangers
	a.Failures = append(a.Failures, b.Failures...)
	a.Failures = a.Failures[:min(len(a.Failures), 20)]
}

// pause is what a client does between two requests.
const pause = 40 * time.Millisecond

// press sends requests to a site from all clients, over new and over kept connections,
// until stop is called, which tells what came of them.
func (t *theatre) press(ctx context.Context, s *site) (stop func() tally) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sum tally
	for _, from := range []string{t.Client(1), t.Client(2)} {
		for _, keep := range []bool{true, false} {
			client := visitor(from, keep)
			wg.Go(func() {
				defer client.CloseIdleConnections()
				tick := time.NewTicker(pause)
				defer tick.Stop()
				for {
					one := t.request(client, s, from)
					mu.Lock()
					sum.add(one)
					mu.Unlock()
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
	return sync.OnceValue(func() tally {
		close(done)
		wg.Wait()
		return sum
	})
}

// visitor is a client at an address.
func visitor(from string, keep bool) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: !keep},
	}
}

// request asks once and judges the answer.
func (t *theatre) request(client *http.Client, s *site, from string) tally {
	one := tally{Requests: 1}
	at := time.Now()
	a, err := ask(client, s.vip)
	switch {
	case err != nil:
		one.Failed = 1
		one.Failures = []string{fmt.Sprintf("%s %s: %v", at.UTC().Format("15:04:05.000"), s.name, err)}
		return one
	case t.watch.site(a.UID) != s.name:
		one.WrongPod = 1
	case a.State != application.StateReady:
		one.Premature = 1
	}
	if !strings.HasPrefix(a.Client, from+":") {
		one.Strangers = 1
	}
	return one
}

func ask(client *http.Client, vip string) (application.Answer, error) {
	var a application.Answer
	res, err := client.Get("http://" + vip + "/")
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body) // to the end, or the connection can't be kept
	if err != nil {
		return a, err
	}
	if res.StatusCode != http.StatusOK {
		return a, fmt.Errorf("status %s", res.Status)
	}
	return a, json.Unmarshal(raw, &a)
}
