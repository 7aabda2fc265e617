package cluster

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// A request to an address where nobody listens yet comes, whole, to whoever listens later.
func TestPatient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{}, 1)
	config := &rest.Config{Host: "http://" + addr}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(req *http.Request) (*http.Response, error) {
			res, err := next.RoundTrip(req)
			if err != nil {
				select {
				case refused <- struct{}{}:
				default:
				}
			}
			return res, err
		})
	})
	client, err := rest.HTTPClientFor(Patient(config))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	})}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		<-refused
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = server.Serve(l)
		}
	}()
	res, err := client.Post("http://"+addr, "text/plain", strings.NewReader("whole"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if body := <-got; body != "whole" {
		t.Errorf("got %q", body)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
