package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"
)

// visitor is a client of the CLB.
type visitor struct {
	// from is its address, on loopback.
	from string
	// keepAlive: it keeps its connections and uses them again.
	keepAlive bool
	// roots are whom it believes the servers' certificates.
	roots *x509.CertPool
	// resolve has the addresses of hosts, as a name server would.
	resolve map[string]string
}

// client gives the visitor's client. It shows redirects and doesn't follow them.
func (v visitor) client() *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(v.from)}}
	return &http.Client{
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				if ip, ok := v.resolve[host]; ok {
					addr = net.JoinHostPort(ip, port)
				}
				return dialer.DialContext(ctx, network, addr)
			},
			TLSClientConfig:   &tls.Config{RootCAs: v.roots},
			DisableKeepAlives: !v.keepAlive,
		},
	}
}

// answer is what a pod says to a request.
type answer struct {
	Pod    string `json:"pod"`
	UID    string `json:"uid"`
	Client string `json:"client"`
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
	// To the end, or the connection can't be kept.
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(raw, &a)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
