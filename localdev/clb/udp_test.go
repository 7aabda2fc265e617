package clb

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
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
