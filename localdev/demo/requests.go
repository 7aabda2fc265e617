package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// clients are the addresses that requests come from, each on loopback.
var clients = []string{"127.10.0.1", "127.10.0.2"}

// answer is what a pod says to a request.
type answer struct {
	Pod    string `json:"pod"`
	UID    string `json:"uid"`
	Client string `json:"client"`
}

// requests sends 200 requests through the CLB, half from each client address, and
// looks who answered and whom they saw.
func (d *show) requests(ctx context.Context) error {
	vip, err := d.vip(ctx)
	if err != nil {
		return err
	}
	const each = 100
	r := Requests{PerPod: map[string]int{}}
	preserved := true
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, from := range clients {
		wg.Go(func() {
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
				DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
				DisableKeepAlives: true, // a new connection each, or one pod would get them all
			}}
			for range each {
				a, err := get(ctx, client, "http://"+vip+"/")
				mu.Lock()
				r.Sent++
				if err != nil {
					r.Failed++
					d.say("  a request from %s failed: %v", from, err)
				} else {
					r.OK++
					r.PerPod[a.Pod]++
					host, _, splitErr := net.SplitHostPort(a.Client)
					preserved = preserved && splitErr == nil && host == from
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	d.report.Requests, d.report.ClientIPPreserved = r, preserved
	d.say("  %d sent to http://%s, %d answered, %d failed; pods saw the clients' own addresses: %v", r.Sent, vip, r.OK, r.Failed, preserved)
	for _, name := range sortedKeys(r.PerPod) {
		d.say("    %-40s %3d", name, r.PerPod[name])
	}
	if r.Failed > 0 || !preserved || len(r.PerPod) != 3 {
		return fmt.Errorf("%d of %d requests failed, client addresses preserved %v, %d pods answered", r.Failed, r.Sent, preserved, len(r.PerPod))
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string) (answer, error) {
	var a answer
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	res, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return a, fmt.Errorf("status %s", res.Status)
	}
	return a, json.NewDecoder(res.Body).Decode(&a)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
