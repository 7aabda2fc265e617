package dataplane

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestSetTellsReboundFromStayed gives a listener the same address with another verdict,
// as when an unbind and a bind arrive together.
func TestSetTellsReboundFromStayed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.77.2.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	up := ln.Addr().(*net.TCPAddr).AddrPort()

	p := New(Options{})
	defer p.Close()
	l := Listener{
		ID: "l", Network: "tcp", Addr: netip.MustParseAddrPort("127.77.2.3:8080"),
		Check: Check{On: true, Kind: "TCP", Interval: 5 * time.Millisecond, Timeout: time.Second, HealthNum: 2, UnHealthNum: 2},
	}
	set := func(v *Verdict) {
		t.Helper()
		l.Targets = []Target{{Addr: up, Weight: 10, Verdict: v}}
		if err := p.Set(l); err != nil {
			t.Fatal(err)
		}
	}
	first, second := &Verdict{}, &Verdict{}
	set(first)
	awaitState(t, first, Alive)
	set(second)
	awaitState(t, second, Alive)
	ln.Close()
	awaitState(t, second, Dead)
	if got := first.State(); got != Alive {
		t.Errorf("the verdict of a binding that is gone changed to %v", got)
	}
}

func awaitState(t *testing.T, v *Verdict, want State) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); v.State() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for %v, it is %v", want, v.State())
		}
	}
}
