package node

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// ask gets an application's answer over HTTP.
func ask(t *testing.T, ip string, port int) Answer {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get("http://" + net.JoinHostPort(ip, strconv.Itoa(port)) + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var a Answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// testIP gives each call an address that no node and no other test uses.
var testIP = func() func() netip.Addr {
	var n atomic.Uint32
	return func() netip.Addr { return netip.AddrFrom4([4]byte{127, 99, byte(n.Add(1)), 1}) }
}()

// ends collects how an application ended.
type ends chan int32

// startTestApp runs an application on port 8080 over TCP and 8053 over UDP.
func startTestApp(t *testing.T, b behaviour, probes ...probeTarget) (*app, ends) {
	t.Helper()
	exits := make(ends, 1)
	a := &app{
		addr:    testIP(),
		ports:   []port{{8053, corev1.ProtocolUDP}, {8080, corev1.ProtocolTCP}},
		probes:  probes,
		behave:  b,
		answer:  Answer{Pod: "p", Namespace: "ns", UID: "u", Node: "n", ContainerID: "c"},
		onServe: func() {},
		onExit:  func(code int32, _ string) { exits <- code },
	}
	if err := a.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.kill()
		<-a.gone
	})
	return a, exits
}

func (e ends) await(t *testing.T) int32 {
	t.Helper()
	select {
	case code := <-e:
		return code
	case <-time.After(10 * time.Second):
		t.Fatal("the application didn't end")
		return -1
	}
}

func (a *app) at(port int) string { return net.JoinHostPort(a.addr.String(), strconv.Itoa(port)) }

func dial(t *testing.T, network, to string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestAppAnswers(t *testing.T) {
	t.Parallel()
	a, _ := startTestApp(t, behaviour{openBeforeReady: true})
	tests := map[string]struct {
		reason  string
		network string
		port    int
		say     string
		answers int
	}{
		"Line":     {"a line gets the answer as a line", "tcp", 8080, "hello\n", 1},
		"Lines":    {"each line gets one", "tcp", 8080, "one\ntwo\nthree\n", 3},
		"LikeHTTP": {"a word that begins like a method isn't HTTP", "tcp", 8080, "GETTING\n", 1},
		"Datagram": {"a datagram gets the answer as a datagram", "udp", 8053, "x", 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, tc.network, a.at(tc.port))
			if _, err := io.WriteString(conn, tc.say); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			for range tc.answers {
				line, err := in.ReadBytes('\n')
				if err != nil {
					t.Fatalf("%s: %v", tc.reason, err)
				}
				var got Answer
				if err := json.Unmarshal(line, &got); err != nil {
					t.Fatalf("%s: %v", tc.reason, err)
				}
				want := Answer{Pod: "p", Namespace: "ns", UID: "u", Node: "n", ContainerID: "c", State: StateReady, Ready: true, Port: int32(tc.port), Client: conn.LocalAddr().String()}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
			}
		})
	}
	t.Run("HTTPKeepAlive", func(t *testing.T) {
		conn := dial(t, "tcp", a.at(8080))
		in := bufio.NewReader(conn)
		for range 3 {
			if _, err := io.WriteString(conn, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got Answer
			if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if got.Client != conn.LocalAddr().String() || got.Port != 8080 {
				t.Errorf("got %+v, want client %s, port 8080", got, conn.LocalAddr())
			}
		}
	})
}

func TestAppEndsGracefully(t *testing.T) {
	t.Parallel()
	a, exits := startTestApp(t, behaviour{openBeforeReady: true, responseDelay: 400 * time.Millisecond})
	idle, busy, plain, crossing := dial(t, "tcp", a.at(8080)), dial(t, "tcp", a.at(8080)), dial(t, "tcp", a.at(8080)), dial(t, "tcp", a.at(8080))
	for _, c := range []net.Conn{busy, plain} {
		say := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		if c == plain {
			say = "hello\n"
		}
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
	}
	awaitServed(t, a)
	a.signal()
	if _, err := io.WriteString(crossing, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(crossing); err != nil || strings.Count(string(said), StateTerminating) != 1 {
		t.Errorf("a line that crosses SIGTERM: got %q, %v, want an answer that says terminating, and the end", said, err)
	}
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection: got %v, want its end", err)
	}
	if conn, err := net.Dial("tcp", a.at(8080)); err == nil {
		conn.Close()
		t.Error("a connection was taken after SIGTERM")
	}
	res, err := http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatalf("the request in flight: %v", err)
	}
	defer res.Body.Close()
	var got Answer
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.State != StateTerminating {
		t.Errorf("the request in flight: got %+v, %v, want an answer that says terminating", got, err)
	}
	if line, err := bufio.NewReader(plain).ReadString('\n'); err != nil || !strings.Contains(line, StateTerminating) {
		t.Errorf("the line in flight: got %q, %v", line, err)
	}
	if code := exits.await(t); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
}

// awaitServed waits until two requests are being answered.
func awaitServed(t *testing.T, a *app) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for a.asked.Load() < 2 {
		select {
		case <-deadline:
			t.Fatal("the requests didn't arrive")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAppKilledCutsRequests(t *testing.T) {
	t.Parallel()
	a, exits := startTestApp(t, behaviour{openBeforeReady: true, responseDelay: time.Hour})
	conns := []net.Conn{dial(t, "tcp", a.at(8080)), dial(t, "tcp", a.at(8080))}
	for _, c := range conns {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	awaitServed(t, a)
	a.signal() // waits for the requests, so it must not stand in the way of
	a.kill()
	for _, c := range conns {
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("a killed application answered %d bytes", n)
		}
	}
	if code := exits.await(t); code != exitSIGKILL {
		t.Errorf("exit code: got %d, want %d", code, exitSIGKILL)
	}
}

func TestAppBehaviour(t *testing.T) {
	t.Parallel()
	httpReadiness := probeTarget{kind: readinessProbe, port: 8080, path: "/ready"}
	httpLiveness := probeTarget{kind: livenessProbe, port: 8080, path: "/alive"}
	tcpReadiness := probeTarget{kind: readinessProbe, port: 8080}
	tests := map[string]struct {
		reason string
		behave behaviour
		probes []probeTarget
		want   map[string]int // path to status, 0 for a port that is closed
	}{
		"Ready":            {"all is well", behaviour{}, []probeTarget{httpReadiness}, map[string]int{"/ready": 200, "/": 200}},
		"Starting":         {"open, but its probe says no", behaviour{readyDelay: time.Hour, openBeforeReady: true}, []probeTarget{httpReadiness, httpLiveness}, map[string]int{"/ready": 503, "/alive": 200, "/": 200}},
		"StartingClosed":   {"not open yet", behaviour{readyDelay: time.Hour}, []probeTarget{httpReadiness}, map[string]int{"/ready": 0, "/": 0}},
		"StartingTCP":      {"open before it is ready: a TCP probe can't tell", behaviour{readyDelay: time.Hour, openBeforeReady: true}, []probeTarget{tcpReadiness}, map[string]int{"/": 200}},
		"FailReadiness":    {"only the readiness path fails", behaviour{failProbe: map[probeKind]bool{readinessProbe: true}}, []probeTarget{httpReadiness, httpLiveness}, map[string]int{"/ready": 503, "/alive": 200, "/": 200}},
		"FailTCPReadiness": {"its port is closed", behaviour{failProbe: map[probeKind]bool{readinessProbe: true}}, []probeTarget{tcpReadiness}, map[string]int{"/": 0}},
		"FailAll":          {"every probe fails, the rest is served", behaviour{failAll: true}, []probeTarget{httpReadiness, httpLiveness}, map[string]int{"/ready": 503, "/alive": 503, "/": 200}},
		"FailWithoutProbe": {"without probes all ports are closed, for health checks from outside", behaviour{failAll: true}, nil, map[string]int{"/": 0}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a, _ := startTestApp(t, tc.behave, tc.probes...)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			got := map[string]int{}
			for path := range tc.want {
				got[path] = 0
				if res, err := client.Get("http://" + a.at(8080) + path); err == nil {
					res.Body.Close()
					got[path] = res.StatusCode
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAppThatCannotBindEnds(t *testing.T) {
	t.Parallel()
	a, _ := startTestApp(t, behaviour{})
	second := &app{addr: a.addr, ports: a.ports, onServe: func() {}, onExit: func(int32, string) {}}
	if err := second.start(); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("starting on a taken port: got %v, want address already in use", err)
	}
}

func TestReadBehaviour(t *testing.T) {
	defaults := behaviour{startDelay: -1, openBeforeReady: true, exitCode: 1, failProbe: map[probeKind]bool{}}
	with := func(edit func(*behaviour)) behaviour {
		b := defaults
		edit(&b)
		return b
	}
	tests := map[string]struct {
		reason      string
		annotations map[string]string
		want        behaviour
		complaints  int
	}{
		"None": {"nothing said", map[string]string{"other": "x"}, defaults, 0},
		"Durations": {"all of them", map[string]string{KeyStartDelay: "1s", KeyReadyDelay: "2s", KeyExitAfter: "3s", KeyResponseDelay: "4ms"}, with(func(b *behaviour) {
			b.startDelay, b.readyDelay, b.exitAfter, b.responseDelay = time.Second, 2*time.Second, 3*time.Second, 4*time.Millisecond
		}), 0},
		"Zero":       {"an explicit zero is not the default", map[string]string{KeyStartDelay: "0s"}, with(func(b *behaviour) { b.startDelay = 0 }), 0},
		"Switches":   {"both ways", map[string]string{KeyOpenBeforeReady: "false", KeyIgnoreSIGTERM: "true"}, with(func(b *behaviour) { b.openBeforeReady, b.ignoreSIGTERM = false, true }), 0},
		"Container":  {"a container's own value wins", map[string]string{KeyExitCode: "2", KeyExitCode + ".app": "3", KeyExitCode + ".other": "4"}, with(func(b *behaviour) { b.exitCode = 3 }), 0},
		"FailProbes": {"a list", map[string]string{KeyFailProbe: "readiness, liveness"}, with(func(b *behaviour) { b.failProbe = map[probeKind]bool{readinessProbe: true, livenessProbe: true} }), 0},
		"FailAll":    {"all of them", map[string]string{KeyFailProbe: "true"}, with(func(b *behaviour) { b.failAll = true }), 0},
		"Bad":        {"each bad value is named, none takes effect", map[string]string{KeyStartDelay: "soon", KeyReadyDelay: "-1s", KeyExitCode: "256", KeyIgnoreSIGTERM: "yes", KeyFailProbe: "readines"}, defaults, 5},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			annotations := map[string]string{}
			for key, value := range tc.annotations {
				annotations[AnnotationPrefix+key] = value
			}
			got, complaints := readBehaviour(annotations, "app")
			if diff := cmp.Diff(fmt.Sprintf("%+v", tc.want), fmt.Sprintf("%+v", got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if len(complaints) != tc.complaints {
				t.Errorf("%s: complaints: got %q, want %d", tc.reason, complaints, tc.complaints)
			}
		})
	}
}
