package dataplane

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkProbe is what one health check costs: thousands of targets are checked every
// few seconds on a part of a core.
func BenchmarkProbe(b *testing.B) {
	ln, err := net.Listen("tcp", "127.77.2.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	up := ln.Addr().(*net.TCPAddr).AddrPort()
	down := netip.AddrPortFrom(up.Addr(), 1)
	check := Check{On: true, Kind: "TCP", Timeout: time.Second}
	vip := netip.MustParseAddr("127.200.0.1")

	b.Run("alive", func(b *testing.B) {
		for b.Loop() {
			if !probe("tcp", check, vip, up) {
				b.Fatal("a listening target failed its check")
			}
		}
	})
	b.Run("dead", func(b *testing.B) {
		for b.Loop() {
			if probe("tcp", check, vip, down) {
				b.Fatal("a closed port passed its check")
			}
		}
	})
}
