package conformance

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

// quick finds targets alive after two checks, and dead after five: a busy machine may
// miss one.
func quick() *api.HealthCheck {
	return &api.HealthCheck{IntervalTime: new(int64(3)), TimeOut: new(int64(2)), HealthNum: new(int64(2)), UnHealthNum: new(int64(5))}
}

func quickly(q *api.CreateListenerRequest) { q.HealthCheck = quick() }

func quickRule(r *api.RuleInput) { r.HealthCheck = quick() }

// pod is a backend that only an emulator can have: a server on an address of its own.
type pod struct {
	addr netip.AddrPort
	stop func()
}

// serve starts a pod that hands each connection to each.
func (c *cloud) serve(each func(net.Conn)) pod {
	c.t.Helper()
	c.pods++
	l, err := net.Listen("tcp", net.JoinHostPort(podHost(c.pods), "0"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				each(conn)
			}()
		}
	}()
	return pod{l.Addr().(*net.TCPAddr).AddrPort(), func() { l.Close() }}
}

// greeter is a pod that greets with its own and its client's address, and then echoes.
func (c *cloud) greeter() pod {
	c.t.Helper()
	return c.serve(func(conn net.Conn) {
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		fmt.Fprintf(conn, "%s %s\n", conn.LocalAddr(), client)
		_, _ = io.Copy(conn, conn)
	})
}

// handler is a pod that serves HTTP.
func (c *cloud) handler(h http.HandlerFunc) pod {
	c.t.Helper()
	c.pods++
	l, err := net.Listen("tcp", net.JoinHostPort(podHost(c.pods), "0"))
	if err != nil {
		c.t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	c.t.Cleanup(func() { _ = s.Close() })
	return pod{l.Addr().(*net.TCPAddr).AddrPort(), func() { _ = s.Close() }}
}

// named is a pod that answers its name.
func (c *cloud) answering(name string) netip.AddrPort {
	c.t.Helper()
	return c.handler(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }).addr
}

// healthy awaits the state of a target.
func (c *cloud) healthy(lb string, a netip.AddrPort, want string) {
	c.t.Helper()
	c.await(a.String()+" is "+want, func() bool { return c.health(lb)[a.String()] == want })
}

// weigh changes a target's weight, to the end.
func (c *cloud) weigh(lb, listener string, a netip.AddrPort, w int64) {
	c.t.Helper()
	q := api.NewModifyTargetWeightRequest()
	q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &listener, []*api.Target{eni(a, weighing(w))}
	do(c, c.ModifyTargetWeight, q)
}

// layer4 is a listener with pods that are all Alive.
type layer4 struct {
	*cloud
	lb, l string
	vip   string
	pods  []pod
}

func (c *cloud) tcp(n int, set ...func(*api.CreateListenerRequest)) *layer4 {
	c.t.Helper()
	s := &layer4{cloud: c, lb: c.balancer()}
	s.l = c.listener(s.lb, "TCP", 8080, append([]func(*api.CreateListenerRequest){quickly}, set...)...)
	s.vip = net.JoinHostPort(c.vip(s.lb), "8080")
	for range n {
		s.pods = append(s.pods, c.greeter())
	}
	for _, p := range s.pods {
		c.bind(s.lb, s.l, "", p.addr)
	}
	for _, p := range s.pods {
		c.healthy(s.lb, p.addr, "Alive")
	}
	return s
}

// visit is a connection through a load balancer, greeted by a pod.
type visit struct {
	net.Conn
	in          *bufio.Reader
	pod, client string
}

// connect dials from an address of loopback.
func connect(from, to string) (*visit, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	v := &visit{Conn: conn, in: bufio.NewReader(conn)}
	if _, err := fmt.Fscanf(v.in, "%s %s\n", &v.pod, &v.client); err != nil {
		conn.Close()
		return nil, err
	}
	return v, nil
}

func (s *layer4) visit(from string) *visit {
	s.t.Helper()
	v, err := connect(from, s.vip)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { v.Close() })
	return v
}

// echoes tells whether the connection still goes through.
func (v *visit) echoes() bool {
	if _, err := io.WriteString(v, "hello\n"); err != nil {
		return false
	}
	line, err := v.in.ReadString('\n')
	return err == nil && line == "hello\n"
}

// spread counts which pods n connections reach, each closed before the next.
func (s *layer4) spread(n int) []int {
	s.t.Helper()
	counts := make([]int, len(s.pods))
	for range n {
		v := s.visit("127.88.0.1")
		for i, p := range s.pods {
			if p.addr.String() == v.pod {
				counts[i]++
			}
		}
		v.Close()
	}
	return counts
}

// page is what a client sees.
type page struct {
	*http.Response
	text string
}

// get asks a load balancer's port for a URL, without following redirects.
func (c *cloud) get(lb string, port int, url string, headers ...string) (page, error) {
	c.t.Helper()
	at := net.JoinHostPort(c.vip(lb), fmt.Sprint(port))
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", at)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	q, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	a, err := client.Do(q)
	if err != nil {
		return page{}, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	return page{a, string(text)}, err
}

// reads requires that a URL is answered by the pod of a name.
func (c *cloud) reads(lb string, port int, url, want string) page {
	c.t.Helper()
	p, err := c.get(lb, port, url)
	if err != nil {
		c.t.Fatalf("%s: %v", url, err)
	}
	if p.StatusCode != http.StatusOK || !strings.Contains(p.text, want) {
		c.t.Errorf("%s: want it answered by %q, got %d %.100q", url, want, p.StatusCode, p.text)
	}
	return p
}

// backing makes a rule with a pod that answers the name.
func (c *cloud) backing(lb, listener, domain, url, name string, set ...func(*api.RuleInput)) netip.AddrPort {
	c.t.Helper()
	r := c.rule(lb, listener, domain, url, append([]func(*api.RuleInput){quickRule}, set...)...)
	a := c.answering(name)
	c.bind(lb, listener, r, a)
	c.healthy(lb, a, "Alive")
	return a
}

func checking(set func(*api.HealthCheck)) func(*api.CreateListenerRequest) {
	return func(q *api.CreateListenerRequest) {
		q.HealthCheck = quick()
		set(q.HealthCheck)
	}
}
