package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRequests is requests of clients that keep their connections, with a pod in
// the same process: both sides' work and the load balancer's are in it.
func BenchmarkRequests(b *testing.B) {
	for name, keepAlive := range map[string]bool{"close": false, "keepalive": true} {
		b.Run(name, func(b *testing.B) {
			pods := benchPods(b, 50)
			p := New(Options{})
			defer p.Close()
			l := Listener{ID: "l", Network: "tcp", Addr: netip.MustParseAddrPort("127.77.3.1:8080"), HTTP: &HTTP{
				KeepAlive: keepAlive, DefaultDomain: "d",
				Domains: []Domain{{Name: "d", Rules: []Rule{{ID: "1", Path: "/", Targets: benchTargets(pods)}}}},
			}}
			if err := p.Set(l); err != nil {
				b.Fatal(err)
			}
			tr := &http.Transport{MaxIdleConnsPerHost: 64}
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: tr}
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					response, err := c.Get("http://127.77.3.1:8080/some/path")
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != 200 {
						b.Errorf("status %d, %v", response.StatusCode, err)
					}
					response.Body.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

// BenchmarkSet is one change to a listener of 200 rules by 50 targets: a weight.
func BenchmarkSet(b *testing.B) {
	p := New(Options{})
	defer p.Close()
	l := manyRules(benchPods(b, 50), Check{})
	for b.Loop() {
		l.HTTP.Domains[0].Rules[7].Targets[3].Weight ^= 1
		if err := p.Set(l); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChecks is 200 rules by 50 targets, checked over HTTP every five seconds, for
// as long: what it tells is how much of a processor that takes, pod included.
func BenchmarkChecks(b *testing.B) {
	pods := benchPods(b, 50)
	p := New(Options{})
	defer p.Close()
	check := Check{
		On: true, Kind: "HTTP", Method: "HEAD", Path: "/", Domain: "d", Version: "HTTP/1.1", Codes: 2,
		Interval: 5 * time.Second, Timeout: 2 * time.Second, HealthNum: 2, UnHealthNum: 2,
	}
	if err := p.Set(manyRules(pods, check)); err != nil {
		b.Fatal(err)
	}
	before := processorTime(b)
	started := time.Now()
	for b.Loop() {
		time.Sleep(check.Interval)
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(time.Since(started)), "cpus")
}

func processorTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// benchPods is one server on n addresses of the loopback.
func benchPods(b *testing.B, n int) []netip.AddrPort {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello, world")
	})}
	b.Cleanup(func() { server.Close() })
	var out []netip.AddrPort
	for i := range n {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.79.1.%d:0", i+1))
		if err != nil {
			b.Fatal(err)
		}
		go server.Serve(ln)
		out = append(out, ln.Addr().(*net.TCPAddr).AddrPort())
	}
	return out
}

// benchTargets binds them.
func benchTargets(pods []netip.AddrPort) []Target {
	var out []Target
	for _, addr := range pods {
		v := &Verdict{}
		v.set(Closed)
		out = append(out, Target{Addr: addr, Weight: 10, Verdict: v})
	}
	return out
}

// manyRules is a listener of 200 rules with the same pods.
func manyRules(pods []netip.AddrPort, check Check) Listener {
	d := Domain{Name: "d"}
	for i := range 200 {
		id := fmt.Sprintf("/%d", i)
		d.Rules = append(d.Rules, Rule{ID: id, Path: id, Check: check, Targets: benchTargets(pods)})
	}
	return Listener{ID: "l", Network: "tcp", Addr: netip.MustParseAddrPort("127.77.3.1:8080"), HTTP: &HTTP{Domains: []Domain{d}}}
}
