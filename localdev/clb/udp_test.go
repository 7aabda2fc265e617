package clb

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

// udpPod answers each datagram with its own and its client's address.
func udpPod(r *rig) netip.AddrPort {
	r.t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.podAddr(), 0)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	own := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	go func() {
		buf := make([]byte, 1500)
		for {
			_, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			conn.WriteToUDPAddrPort(fmt.Appendf(nil, "%s %s", own, from.Addr().Unmap()), from)
		}
	}()
	return own
}

func TestUDP(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "UDP", 8053, quickCheck)
	a, b := udpPod(r), udpPod(r)
	none := netip.AddrPortFrom(a.Addr(), 1)
	mute, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.podAddr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	silent := mute.LocalAddr().(*net.UDPAddr).AddrPort()
	r.bind(lb, batchTarget(l, a, 10), batchTarget(l, b, 10), batchTarget(l, none, 10), batchTarget(l, silent, 0))
	r.awaitHealth(lb, a, "Alive")
	r.awaitHealth(lb, b, "Alive")
	r.awaitHealth(lb, none, "Dead")
	// Silence is health; only an unreachable port isn't.
	r.awaitHealth(lb, silent, "Alive")

	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.vip(lb), 8053))
	open := func() func() (string, error) {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP("127.88.0.1")}, to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return func() (string, error) {
			buf := make([]byte, 1500)
			if _, err := conn.Write([]byte("hello")); err != nil {
				return "", err
			}
			if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				return "", err
			}
			n, err := conn.Read(buf)
			return string(buf[:n]), err
		}
	}
	reached := map[string]string{}
	for _, ask := range []func() (string, error){open(), open()} {
		first, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if second, err := ask(); second != first {
			t.Errorf("one client port reached %q and %q: %v", first, second, err)
		}
		var pod, client string
		if _, err := fmt.Sscan(first, &pod, &client); err != nil || client != "127.88.0.1" {
			t.Errorf("the pod saw %q: %v", first, err)
		}
		reached[pod] = client
	}
	if len(reached) != 2 {
		t.Errorf("two client ports reached %v, want both pods", reached)
	}

	ask := open()
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	r.unbind(lb, batchTarget(l, a, 0))
	for range 4 {
		if got, err := ask(); err != nil || got != fmt.Sprintf("%s 127.88.0.1", b) {
			t.Errorf("after unbinding the other the session goes to %s: %q, %v", b, got, err)
		}
	}
}

// TestMovedSessionKeepsItsLastAnswer: what was sent before a session was moved is answered,
// what is sent afterwards goes to another target.
func TestMovedSessionKeepsItsLastAnswer(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "UDP", 8053, quickCheck, func(q *api.CreateListenerRequest) { q.RescheduleTargetZeroWeight = new(true) })
	slow, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.podAddr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	first := slow.LocalAddr().(*net.UDPAddr).AddrPort()
	r.bind(lb, batchTarget(l, first, 10))
	r.awaitHealth(lb, first, "Alive")
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.vip(lb), 8053)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	say := func(what string) {
		t.Helper()
		if _, err := conn.Write([]byte(what)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func() string {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 1500)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	say("early")
	buf := make([]byte, 1500)
	var from netip.AddrPort
	for {
		n, client, err := slow.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) == "early" { // no health check
			from = client
			break
		}
	}
	second := udpPod(r)
	r.bind(lb, batchTarget(l, second, 10))
	r.awaitHealth(lb, second, "Alive")
	r.weigh(lb, l, target(first, 0))
	// Moved as soon as another answers.
	await(t, "the next datagram to go to the other", func() bool {
		say("late")
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := conn.Read(buf)
		return err == nil && strings.HasPrefix(string(buf[:n]), second.String())
	})
	if _, err := slow.WriteToUDPAddrPort([]byte("answer"), from); err != nil {
		t.Fatal(err)
	}
	if got := hear(); got != "answer" {
		t.Errorf("the answer to what was sent before: got %q", got)
	}
}
