package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// The states an application is in, as it sees itself.
const (
	StateStarting    = application.StateStarting
	StateReady       = application.StateReady
	StateTerminating = application.StateTerminating
)

// Exit codes and reasons as container runtimes report them.
const (
	exitFailure = 1
	exitSIGKILL = 137
)

// Answer is what the application says.
type Answer = application.Answer

// app is the application in one container: one start of it, as one process.
type app struct {
	addr    netip.Addr
	ports   []port
	probes  []probeTarget
	answer  Answer
	onServe func()
	onExit  func(code int32, message string)
	// program, where it is not nil, runs in the application's place: everything but its
	// start and end is its own.
	program func() (Process, error)
	process Process

	http  *http.Server
	conns *application.Handover
	life  context.Context // done when the process is ending
	die   context.CancelFunc
	wg    sync.WaitGroup // everything that runs in the process
	gone  chan struct{}  // closed when nothing of the process is left

	asked atomic.Int32 // requests being answered

	mu       sync.Mutex
	behave   behaviour
	state    string
	open     bool // the ports are meant to be open
	stopping bool
	exited   bool
	tcp      map[int32]net.Listener
	udp      map[int32]*net.UDPConn
	raw      map[net.Conn]struct{} // connections that don't speak HTTP (yet)
	timers   []*time.Timer
}

// probeTarget is what one probe of the container looks at here.
type probeTarget struct {
	kind probeKind
	port int32
	path string // empty: not HTTP
}

// probeTargets lists what a container's probes look at, so that the application
// can answer them as its behaviour says.
func probeTargets(c *corev1.Container) []probeTarget {
	var targets []probeTarget
	for _, kind := range probeKinds {
		probe := kind.of(c)
		if probe == nil || elsewhere(probe) {
			continue
		}
		n, err := probedPort(probe, c)
		if err != nil {
			continue
		}
		t := probeTarget{kind: kind, port: n}
		if probe.HTTPGet != nil {
			t.path = "/"
			if u, err := url.Parse(probe.HTTPGet.Path); err == nil && u.Path != "" {
				t.path = "/" + strings.TrimPrefix(u.Path, "/")
			}
		}
		targets = append(targets, t)
	}
	return targets
}

// start runs the application. An error means that it ended at once, as a server
// does that can't bind its port.
func (a *app) start() error {
	a.life, a.die = context.WithCancel(context.Background())
	a.gone = make(chan struct{})
	if a.program != nil {
		return a.runProgram()
	}
	a.tcp, a.udp, a.raw = map[int32]net.Listener{}, map[int32]*net.UDPConn{}, map[net.Conn]struct{}{}
	a.conns = application.NewHandover(net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.addr, 0)))
	a.http = &http.Server{
		Handler:           http.HandlerFunc(a.serveHTTP),
		ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, portKey{}, localPort(c))
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state = StateStarting
	if a.behave.readyDelay == 0 {
		a.state = StateReady
	}
	a.open = a.state == StateReady || a.behave.openBeforeReady
	if err := a.listen(); err != nil {
		a.end()
		a.wg.Wait()
		return err
	}
	a.wg.Go(func() { _ = a.http.Serve(a.conns) })
	if a.state == StateStarting {
		a.timers = append(a.timers, time.AfterFunc(a.behave.readyDelay, a.becomeReady))
	}
	if a.behave.exitAfter > 0 {
		code := a.behave.exitCode
		a.timers = append(a.timers, time.AfterFunc(a.behave.exitAfter, func() { a.exit(code, "") }))
	}
	return nil
}

func (a *app) becomeReady() {
	a.mu.Lock()
	if a.exited || a.stopping {
		a.mu.Unlock()
		return
	}
	a.state, a.open = StateReady, true
	err := a.listen()
	a.mu.Unlock()
	if err != nil {
		a.exit(exitFailure, err.Error())
	}
}

// steer gives the application new orders while it runs.
func (a *app) steer(b behaviour) {
	a.mu.Lock()
	if a.exited {
		a.mu.Unlock()
		return
	}
	a.behave.failAll, a.behave.failProbe = b.failAll, b.failProbe
	a.behave.ignoreSIGTERM, a.behave.responseDelay = b.ignoreSIGTERM, b.responseDelay
	err := a.listen()
	a.mu.Unlock()
	if err != nil {
		a.exit(exitFailure, err.Error())
	}
}

// listen opens and closes ports until they are as they should be. The lock is
// held.
func (a *app) listen() error {
	for _, p := range a.ports {
		if err := a.listenOn(p, a.open && !a.stopping && !a.shut(p)); err != nil {
			return err
		}
	}
	return nil
}

// shut says whether a port is to be closed so that a probe fails.
func (a *app) shut(p port) bool {
	if len(a.probes) == 0 {
		return a.behave.failAll
	}
	for _, t := range a.probes {
		if p.protocol == corev1.ProtocolTCP && t.port == p.number && t.path == "" && a.behave.fails(t.kind) {
			return true
		}
	}
	return false
}

func (a *app) listenOn(p port, want bool) error {
	at := netip.AddrPortFrom(a.addr, uint16(p.number))
	if p.protocol == corev1.ProtocolUDP {
		conn, is := a.udp[p.number]
		switch {
		case want && !is:
			conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			a.udp[p.number] = conn
			a.wg.Go(func() { a.serveUDP(conn, p.number) })
		case !want && is:
			delete(a.udp, p.number)
			conn.Close()
		}
		return nil
	}
	listener, is := a.tcp[p.number]
	switch {
	case want && !is:
		listener, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		a.tcp[p.number] = listener
		a.wg.Go(func() { a.serveTCP(listener, p.number) })
	case !want && is:
		delete(a.tcp, p.number)
		listener.Close()
	}
	return nil
}

// farewell is how long a plain connection may still ask after SIGTERM, once: a protocol
// without a word for goodbye can't be ended otherwise without losing what crosses its end.
const farewell = time.Second

// signal is SIGTERM: the application stops listening, drops what is idle,
// finishes what is in flight and exits with 0.
func (a *app) signal() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exited || a.stopping || a.behave.ignoreSIGTERM {
		return
	}
	a.stopping, a.state = true, StateTerminating
	if a.process != nil {
		_ = a.process.Signal(syscall.SIGTERM) // it may just have ended
		return
	}
	_ = a.listen() // closes only
	for conn := range a.raw {
		// Whoever is about to ask hears from the answer that it is the last one.
		_ = conn.SetReadDeadline(time.Now().Add(farewell))
	}
	a.wg.Go(func() {
		_ = a.http.Shutdown(a.life)
		a.awaitRaw()
		// Not from here: exit waits for this goroutine too.
		go a.exit(0, "")
	})
}

// awaitRaw waits until no plain connection is left.
func (a *app) awaitRaw() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		a.mu.Lock()
		none := len(a.raw) == 0
		a.mu.Unlock()
		if none {
			return
		}
		select {
		case <-a.life.Done():
			return
		case <-tick.C:
		}
	}
}

// kill is SIGKILL.
func (a *app) kill() { a.exit(exitSIGKILL, "") }

// exit ends the process: sockets are closed by the kernel, whatever is going on
// over them. The first call reports its code when nothing is left.
func (a *app) exit(code int32, message string) {
	a.mu.Lock()
	if a.exited {
		a.mu.Unlock()
		return
	}
	if a.process != nil {
		a.exited = true
		a.die()
		a.mu.Unlock()
		a.endProgram()
		a.onExit(code, message)
		close(a.gone)
		return
	}
	a.end()
	a.mu.Unlock()
	a.wg.Wait()
	a.onExit(code, message)
	close(a.gone)
}

// end closes everything. The lock is held.
func (a *app) end() {
	a.exited = true
	a.die()
	for _, t := range a.timers {
		t.Stop()
	}
	for _, l := range a.tcp {
		l.Close()
	}
	for _, c := range a.udp {
		c.Close()
	}
	for c := range a.raw {
		c.Close()
	}
	a.conns.Close()
	_ = a.http.Close()
}

// currentState returns the application's own view of itself.
func (a *app) currentState() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// self is the application's own view: its state, and whether a readiness probe passes.
// One that is stopping takes none any more, and is no less ready for it.
func (a *app) self() (state string, ready bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state, a.state != StateStarting && !a.behave.fails(readinessProbe)
}

// passes answers a probe of a kind that emulation can't carry out, exec or
// gRPC, by what the application knows of itself.
func (a *app) passes(kind probeKind) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.behave.fails(kind) && (kind == livenessProbe || a.state == StateReady)
}

// say renders the answer to a client. It takes the response delay; false means
// that the process ended meanwhile. last says that the answer says goodbye.
func (a *app) say(ctx context.Context, client string, port int32) (data []byte, last, ok bool) {
	a.asked.Add(1)
	defer a.asked.Add(-1)
	a.mu.Lock()
	delay := a.behave.responseDelay
	a.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, false, false
		case <-a.life.Done():
			return nil, false, false
		}
	}
	answer := a.answer
	answer.Client, answer.Port = client, port
	answer.State, answer.Ready = a.self()
	data, err := json.Marshal(answer)
	if err != nil {
		return nil, false, false
	}
	return append(data, '\n'), answer.State == StateTerminating, true
}

type portKey struct{}

func localPort(c net.Conn) int32 {
	if addr, ok := c.LocalAddr().(*net.TCPAddr); ok {
		return int32(addr.Port)
	}
	return 0
}

func (a *app) serveHTTP(w http.ResponseWriter, r *http.Request) {
	port, _ := r.Context().Value(portKey{}).(int32)
	if !strings.HasPrefix(r.UserAgent(), probeAgent) {
		a.onServe()
	}
	body, _, ok := a.say(r.Context(), r.RemoteAddr, port)
	if !ok {
		// Nobody is left to answer: cut the connection, don't send an empty 200.
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if a.refuses(port, r.URL.Path) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(body)
}

// refuses says whether a path answers 503 now.
func (a *app) refuses(port int32, path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.probes {
		if t.port != port || t.path == "" || t.path != path {
			continue
		}
		if a.behave.fails(t.kind) || a.state == StateStarting && t.kind != livenessProbe {
			return true
		}
	}
	return false
}
