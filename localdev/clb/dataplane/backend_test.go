package dataplane

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// grpcEcho answers each message as it comes, as a gRPC server of a stream does.
var grpcEcho = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" {
		w.WriteHeader(http.StatusHTTPVersionNotSupported)
		return
	}
	w.Header().Set("Content-Type", "application/grpc")
	if r.URL.Path == "/unknown" || r.URL.Path == "/" {
		w.Header().Set("Grpc-Status", "12")
		return
	}
	w.(http.Flusher).Flush()
	message := make([]byte, 5)
	for {
		if _, err := io.ReadFull(r.Body, message); err != nil {
			break
		}
		w.Write(message)
		w.(http.Flusher).Flush()
	}
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
})

func TestGRPC(t *testing.T) {
	a := newAuthority(t)
	for forward, config := range map[string]*tls.Config{
		"GRPC": nil, "GRPCS": {Certificates: []tls.Certificate{*a.named("pod")}},
	} {
		t.Run(forward, func(t *testing.T) {
			s := newStage(t, Options{})
			s.l.HTTP = &HTTP{TLS: true, Certificate: a.named("a.test"), KeepAlive: true}
			var healthy, odd Verdict
			p := s.podOver(grpcEcho, config)
			check := Check{On: true, Kind: "GRPC", Interval: 10 * time.Millisecond, Timeout: 5 * time.Second, HealthNum: 2, UnHealthNum: 2}
			picky := check
			picky.ExtendedCode = "0-3, 5"
			s.set(Domain{Name: "a.test", HTTP2: true, Rules: []Rule{
				{ID: "1", Path: "/", ForwardType: forward, Check: check, Targets: []Target{{Addr: p.addr, Weight: 10, Verdict: &healthy}}},
				{ID: "2", Path: "/unknown", ForwardType: forward, Check: picky, Targets: []Target{{Addr: p.addr, Weight: 10, Verdict: &odd}}},
			}})
			awaitState(t, &healthy, Alive)
			awaitState(t, &odd, Dead)

			body, messages := io.Pipe()
			r, err := http.NewRequest(http.MethodPost, "https://a.test/echo.Echo/Stream", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
			response, err := s.tlsClient(a, nil).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			for _, message := range []string{"one..", "two.."} {
				io.WriteString(messages, message)
				got := make([]byte, 5)
				if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != message {
					t.Fatalf("answered %q, %v to %q", got, err, message)
				}
			}
			messages.Close()
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Fatal(err)
			}
			if got := response.Trailer.Get("Grpc-Status"); got != "0" {
				t.Errorf("the status in the trailer is %q", got)
			}
		})
	}
}

func TestForwardsOverTLS(t *testing.T) {
	a := newAuthority(t)
	s := newStage(t, Options{})
	p := s.podOver(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
	}), &tls.Config{Certificates: []tls.Certificate{*a.named("pod")}})
	var verdict Verdict
	s.rules(Rule{
		ID: "1", Path: "/", ForwardType: "HTTPS", Targets: []Target{{Addr: p.addr, Weight: 1, Verdict: &verdict}},
		Check: Check{
			On: true, Kind: "HTTPS", Method: "GET", Path: "/", Version: "HTTP/1.1", Codes: 2,
			Interval: 10 * time.Millisecond, Timeout: 5 * time.Second, HealthNum: 2, UnHealthNum: 2,
		},
	})
	awaitState(t, &verdict, Alive)
	if status, body := s.get("", "/"); status != 200 || body != "HTTP/1.1" {
		t.Errorf("got %d %q", status, body)
	}
}

// TestSource is who a pod sees connecting, and whether it is the same connection again.
func TestSource(t *testing.T) {
	cases := map[string]struct {
		reason    string
		keepAlive bool
		opts      Options
		client    bool
		reused    bool
	}{
		"Own":          {reason: "the load balancer connects, each time anew"},
		"KeepAlive":    {reason: "or keeps the connection", keepAlive: true, reused: true},
		"Client":       {reason: "by option with the client's address", opts: Options{ClientSource: true}, client: true},
		"NotKeptAlive": {reason: "which a connection for many clients can't have", opts: Options{ClientSource: true}, keepAlive: true, reused: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tc.opts)
			s.l.HTTP.KeepAlive = tc.keepAlive
			p := s.pod(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, r.RemoteAddr+" "+r.Header.Get("X-Forwarded-For"))
			}))
			s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})
			var remotes []netip.AddrPort
			for range 2 {
				_, body := s.get("", "/")
				remote, forwarded, _ := strings.Cut(body, " ")
				remotes = append(remotes, netip.MustParseAddrPort(remote))
				if forwarded != "127.88.0.1" {
					t.Errorf("X-Forwarded-For is %q", forwarded)
				}
			}
			want := s.l.Addr.Addr()
			if tc.client {
				want = netip.MustParseAddr("127.88.0.1")
			}
			if diff := cmp.Diff(want.String(), remotes[0].Addr().String()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if reused := remotes[0] == remotes[1]; reused != tc.reused {
				t.Errorf("%s: connections %v", tc.reason, remotes)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	s := newStage(t, Options{})
	seen := make(chan *http.Request, 1)
	p := s.pod(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r }))
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})
	response := s.do(s.client("127.88.0.1"), "Some.Test:81", "/a//b/%2F?x=1;y=%zz", func(r *http.Request) {
		r.Header = http.Header{
			"X-Forwarded-For": {"192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"},
			"X-Forwarded-Host": {"outer.test"}, "User-Agent": {""}, "Connection": {"X-Hop"}, "X-Hop": {"1"},
		}
	})
	response.Body.Close()
	r := <-seen
	if r.Header.Get("X-Stgw-Time") == "" {
		t.Error("no X-Stgw-Time")
	}
	r.Header.Del("X-Stgw-Time")
	r.Header.Del("Connection")
	r.Header.Set("Host", r.Host)
	r.Header.Set("URI", r.RequestURI)
	want := http.Header{
		"X-Forwarded-For": {"192.0.2.1, 127.88.0.1"}, "X-Real-Ip": {"127.88.0.1"}, "X-Forwarded-Proto": {"http"},
		"X-Client-Proto": {"http"}, "X-Client-Proto-Ver": {"HTTP/1.1"}, "X-Forwarded-Host": {"outer.test"},
		"Host": {"Some.Test:81"}, "Uri": {"/a//b/%2F?x=1;y=%zz"},
	}
	if diff := cmp.Diff(want, r.Header); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestSilentTarget has a pod stop answering on a connection that was used before, where
// a request of no effect could be tried again: it isn't.
func TestSilentTarget(t *testing.T) {
	s := newStage(t, Options{TargetTimeout: 50 * time.Millisecond})
	var asked atomic.Int32
	p := s.pod(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			asked.Add(1)
			<-r.Context().Done()
		}
	}))
	s.l.HTTP.KeepAlive = true
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})
	for path, want := range map[string]int{"/": http.StatusOK, "/silent": http.StatusGatewayTimeout} {
		if status, _ := s.get("", "/"); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		if status, _ := s.get("", path); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("it was asked %d times", got)
	}
}

func TestLargeBody(t *testing.T) {
	s := newStage(t, Options{})
	got := make(chan int64, 1)
	p := s.pod(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got <- n
	}))
	s.rules(Rule{ID: "1", Path: "/", Targets: bound(p)})
	post := func(size int64) (int, error) {
		response, err := s.client("127.88.0.1").Post(s.url("/"), "", io.LimitReader(zeros{}, size))
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	if status, err := post(1 << 20); status != http.StatusOK || <-got != 1<<20 {
		t.Errorf("a body of 1 MiB: status %d, %v", status, err)
	}
	// The client may see the connection end before it sees the answer.
	if status, err := post(clientMaxBody + 1); err == nil && status != http.StatusRequestEntityTooLarge {
		t.Errorf("one byte too many: status %d, %v", status, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestExtendedCode(t *testing.T) {
	cases := map[string]struct {
		list string
		want []int
	}{
		"Default": {"", []int{12}},
		"One":     {"20", []int{20}},
		"Some":    {"20, 25", []int{20, 25}},
		"Range":   {"3-5,x,7-", []int{3, 4, 5}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []int
			for code := range 40 {
				if extendedCode(tc.list, code) {
					got = append(got, code)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestStatusOf(t *testing.T) {
	cases := map[string]struct {
		err  error
		want int
	}{
		"None":    {errNoTarget, 502},
		"Unbound": {errUnbound, 502},
		"Timeout": {unsentError{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}}, 504},
		"Large":   {errors.Join(&http.MaxBytesError{}), 413},
	}
	for name, tc := range cases {
		if got := statusOf(tc.err); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// TestUnbindDropsIdleConnections: the address may be another pod's soon.
func TestUnbindDropsIdleConnections(t *testing.T) {
	s := newStage(t, Options{})
	s.l.HTTP.KeepAlive = true
	p := s.named("a")
	r := Rule{ID: "1", Path: "/", Targets: bound(p)}
	s.rules(r)
	s.get("", "/")
	if p.open.Load() != 1 {
		t.Error("the connection isn't kept")
	}
	r.Targets = bound(s.named("b"))
	s.rules(r)
	await(t, "the connection to end", func() bool { return p.open.Load() == 0 })
}
